//! Service names by port, as services(5) of FreeBSD has them: `name=port`, `/t` or `/u` for one transport only, aliases
//! behind commas. The first name of a port is the one printed.

/// The table, one blank between entries.
pub(super) const SERVICES: &str = "\
tcpmux=1 compressnet=2 compressnet=3 rje=5 echo=7 discard=9,sink,null systat=11,users \
daytime=13 qotd=17,quote msp=18 chargen=19,ttytst,source ftp-data=20 ftp=21 ssh=22 telnet=23 \
smtp=25,mail nsw-fe=27 msg-icp=29 msg-auth=31 dsp=33 time=37,timserver rap=38 rlp=39,resource \
graphics=41 nameserver=42,name nicname=43,whois mpm-flags=44 mpm=45 mpm-snd=46 ni-ftp=47 \
auditd=48 tacacs=49 re-mail-ck=50 la-maint=51 xns-time=52 domain=53 xns-ch=54 isi-gl=55 \
xns-auth=56 xns-mail=58 acas=62 whoispp=63,whois++ covia=64 tacacs-ds=65 sql-net=66,sql*net \
bootps=67,dhcps bootpc=68,dhcpc tftp=69 gopher=70 netrjs-1=71 netrjs-2=72 netrjs-3=73 \
netrjs-4=74 deos=76 vettcp=78 finger=79 http=80,www,www-http xfer=82 mit-ml-dev=83 ctf=84 \
mit-ml-dev=85 mfcobol=86 kerberos-sec=88,kerberos su-mit-tg=89 dnsix=90 mit-dov=91 npp=92 \
dcp=93 objcall=94 supdup=95 dixie=96 swift-rvf=97 tacnews=98 metagram=99 newacct=100/t \
hostname=101,hostnames iso-tsap=102,tsap gppitnp=103 acr-nema=104 csnet-ns=105,cso-ns,cso \
pop3pw=106/t,3com-tsmux 3com-tsmux=106/u rtelnet=107 snagas=108 pop2=109,postoffice pop3=110 \
sunrpc=111,rpcbind mcidas=112 auth=113,ident,tap sftp=115 ansanotify=116 uucp-path=117 \
sqlserv=118 nntp=119,usenet cfdptkt=120 erpc=121 smakynet=122 ntp=123 ansatrader=124 \
locus-map=125 nxedit=126 locus-con=127 gss-xlicen=128 pwdgen=129 cisco-fna=130 cisco-tna=131 \
cisco-sys=132 statsrv=133 ingres-net=134 epmap=135 profile=136 netbios-ns=137 netbios-dgm=138 \
netbios-ssn=139 emfis-data=140 emfis-cntl=141 bl-idm=142 imap=143,imap2,imap4 uma=144 uaac=145 \
iso-tp0=146 iso-ip=147 jargon=148 aed-512=149 sql-net=150 hems=151 bftp=152 sgmp=153 \
netsc-prod=154 netsc-dev=155 sqlsrv=156 knet-cmp=157 pcmail-srv=158 nss-routing=159 \
sgmp-traps=160 snmp=161 snmptrap=162,snmp-trap cmip-man=163 cmip-agent=164/t smip-agent=164/u \
xns-courier=165 s-net=166 namp=167 rsvd=168 send=169 print-srv=170 multiplex=171 cl/1=172 \
xyplex-mux=173 mailq=174 vmnet=175 genrad-mux=176 xdmcp=177 nextstep=178 bgp=179 ris=180 \
unify=181 audit=182 ocbinder=183 ocserver=184 remote-kis=185 kis=186 aci=187 mumps=188 qft=189 \
gacp=190,cacp prospero=191 osu-nms=192 srmp=193 irc=194 dn6-nlm-aud=195 dn6-smm-red=196 \
dls=197 dls-mon=198 smux=199 src=200 at-rtmp=201 at-nbp=202 at-3=203 at-echo=204 at-5=205 \
at-zis=206 at-7=207 at-8=208 qmtp=209 z39-50=210,z39.50,wais 914c-g=211,914c/g anet=212 \
ipx=213 vmpwscs=214 softpc=215 CAIlic=216,atls dbase=217 mpp=218 uarps=219 imap3=220 \
fln-spx=221 rsh-spx=222 cdc=223 masqdialer=224 direct=242 sur-meas=243 inbusiness=244 link=245 \
dsp3270=246 subntbcst-tftp=247,subntbcst_tftp bhfhs=248 rap=256 set=257 esro-gen=259 \
openport=260 nsiiops=261 arcisdms=262 hdap=263 bgmp=264 x-bone-ctl=265 sst=266 td-service=267 \
td-replica=268 manet=269 gist=270/u pt-tls=271/t http-mgmt=280 personal-link=281 \
cableport-ax=282 rescap=283 corerjd=284 fxp=286 k-block=287 novastorbakcup=308 entrusttime=309 \
bhmds=310 asip-webadmin=311 vslmp=312 magenta-logic=313 opalis-robot=314 dpsi=315 decauth=316 \
zannet=317 pkix-timestamp=318 ptp-event=319 ptp-general=320 pip=321 rtsps=322 rpki-rtr=323/t \
rpki-rtr-tls=324/t texar=333 pdap=344 pawserv=345 zserv=346 fatserv=347 csi-sgwp=348 mftp=349 \
matip-type-a=350 matip-type-b=351 bhoetty=351 dtag-ste-sb=352 bhoedap4=352 ndsauth=353 \
bh611=354 datex-asn=355 cloanto-net-1=356 bhevent=357 shrinkwrap=358 nsrmp=359 \
scoi2odialog=360 semantix=361 srssend=362 rsvp_tunnel=363 aurora-cmgr=364 dtk=365 odmr=366 \
mortgageware=367 qbikgdp=368 rpc2portmap=369 codaauth2=370 clearcase=371 \
ulistserv=372,ulistproc legent-1=373 legent-2=374 hassle=375 nip=376 tnETOS=377 dsETOS=378 \
is99c=379 is99s=380 hp-collector=381 hp-managed-node=382 hp-alarm-mgr=383 arns=384 ibm-app=385 \
asa=386 aurp=387 unidata-ldm=388 ldap=389 uis=390 synotics-relay=391 synotics-broker=392 \
meta5=393 embl-ndt=394 netcp=395 netware-ip=396 mptn=397 kryptolan=398 iso-tsap-c2=399 \
osb-sd=400 ups=401 genie=402 decap=403 nced=404 ncld=405 imsp=406 timbuktu=407 prm-sm=408 \
prm-nm=409 decladebug=410 rmt=411 synoptics-trap=412 smsp=413 infoseek=414 bnet=415 \
silverplatter=416 onmux=417 hyper-g=418 ariel1=419 smpte=420 ariel2=421 ariel3=422 \
opc-job-start=423 opc-job-track=424 icad-el=425 smartsdp=426 svrloc=427 ocs_cmu=428 \
ocs_amu=429 utmpsd=430 utmpcd=431 iasd=432 nnsp=433 mobileip-agent=434 mobilip-mn=435 \
dna-cml=436 comscm=437 dsfgw=438 dasp=439 sgcp=440 decvms-sysmgt=441 cvc_hostd=442 https=443 \
snpp=444 microsoft-ds=445 ddm-rdb=446 ddm-dfm=447 ddm-ssl=448,ddm-byte as-servermap=449 \
tserver=450 sfs-smp-net=451 sfs-config=452 creativeserver=453 contentserver=454 \
creativepartnr=455 macon-tcp=456/t macon-udp=456/u scohelp=457 appleqtc=458 ampr-rcmd=459 \
skronk=460 datasurfsrv=461 datasurfsrvsec=462 alpes=463 kpasswd=464,kpasswd5 smtps=465 \
urd=465/t submissions=465/t igmpv3lite=465/u digital-vrc=466 mylex-mapd=467 photuris=468 \
rcp=469 scx-proxy=470 mondex=471 ljk-login=472 hybrid-pop=473 tn-tl-w1=474/t tn-tl-w2=474/u \
tcpnethaspsrv=475 tn-tl-fd1=476 ss7ns=477 spsc=478 iafserver=479 iafdbase=480 ph=481 \
bgs-nsi=482 ulpnet=483 integra-sme=484 powerburst=485 avian=486 saft=487 gss-http=488 \
nest-protocol=489 micom-pfs=490 go-login=491 ticf-1=492 ticf-2=493 pov-ray=494 intecourier=495 \
pim-rp-disc=496 retrospect=497 siam=498 iso-ill=499 isakmp=500 stmf=501 mbap=502 intrinsa=503 \
citadel=504 mailbox-lm=505 ohimsrv=506 crs=507 xvttp=508 snare=509 fcp=510 passgo=511 \
exec=512/t biff=512/u,comsat login=513/t who=513/u,whod shell=514/t,cmd syslog=514/u \
printer=515,spooler videotex=516 talk=517 ntalk=518 utime=519,unixtime efs=520/t \
router=520/u,route,routed ripng=521 ulp=522 ibm-db2=523 ncp=524 timed=525,timeserver \
tempo=526,newdate stx=527 custix=528 irc-serv=529 courier=530,rpc conference=531,chat \
netnews=532,readnews netwall=533 windream=534 iiop=535 opalis-rdv=536 nmsp=537 gdomap=538 \
apertus-ldp=539 uucp=540,uucpd uucp-rlogin=541 commerce=542 klogin=543 kshell=544,krcmd \
appleqtcsrvr=545 dhcpv6-client=546 dhcpv6-server=547 afpovertcp=548 idfp=549 \
new-rwho=550,new-who cybercash=551 devshr-nts=552,deviceshare pirp=553 rtsp=554 dsf=555 \
remotefs=556,rfs,rfs_server openvms-sysipc=557 sdnskmp=558 teedtap=559 rmonitor=560,rmonitord \
monitor=561 chshell=562,chcmd nntps=563,snntp 9pfs=564 whoami=565 streettalk=566 \
banyan-rpc=567 ms-shuttle=568 ms-rome=569 meter=570 umeter=571 sonar=572 banyan-vip=573 \
ftp-agent=574 vemmi=575 ipcd=576 vnas=577 ipdd=578 decbsrv=579 sntp-heartbeat=580 bdp=581 \
scc-security=582 philips-vc=583 keyserver=584 password-chg=586 submission=587 cal=588 \
eyelink=589 tns-cml=590 http-alt=591 eudora-set=592 http-rpc-epmap=593 tpip=594 \
cab-protocol=595 smsd=596 ptcnameservice=597 sco-websrvrmg3=598 acp=599 ipcserver=600 \
syslog-conn=601 xmlrpc-beep=602 idxp=603 tunnel=604 soap-beep=605 urm=606 nqs=607 sift-uft=608 \
npmp-trap=609 npmp-local=610 npmp-gui=611 hmmp-ind=612 hmmp-op=613 sshell=614 sco-inetmgr=615 \
sco-sysmgr=616 sco-dtmgr=617 dei-icda=618 compaq-evm=619 sco-websrvrmgr=620 escp-ip=621 \
collaborator=622 asf-rmcp=623 cryptoadmin=624 dec-dlm=625,dec_dlm asia=626 passgo-tivoli=627 \
qmqp=628 3com-amp3=629 rda=630 ipp=631,ipps bmpp=632 servstat=633 ginad=634 rlzdbase=635 \
ldaps=636,sldap lanserver=637 mcns-sec=638 msdp=639 entrust-sps=640 repcmd=641 esro-emsdp=642 \
sanity=643 dwr=644 pssc=645 ldp=646 dhcp-failover=647 rrp=648 cadview-3d=649 obex=650 \
ieee-mms=651 hello-port=652 repscmd=653 aodv=654 tinc=655 spmp=656 rmc=657 tenfold=658 \
mac-srvr-admin=660 hap=661 pftp=662 purenoise=663 asf-secure-rmcp=664 sun-dr=665 mdqs=666 \
doom=666 disclose=667 mecomm=668 meregister=669 vacdsm-sws=670 vacdsm-app=671 vpps-qua=672 \
cimplex=673 acap=674 dctp=675 vpps-via=676 vpp=677 ggf-ncp=678 mrm=679 entrust-aaas=680 \
entrust-aams=681 xfr=682 corba-iiop=683 corba-iiop-ssl=684 mdc-portmapper=685 hcp-wismar=686 \
asipregistry=687 realm-rusd=688 nmap=689 vatp=690 msexch-routing=691 hyperwave-isp=692 \
connendp=693 ha-cluster=694 ieee-mms-ssl=695 rushd=696 uuidgen=697 olsr=698 accessnetwork=699 \
epp=700 lmp=701 iris-beep=702 elcsd=704 agentx=705 silc=706 borland-dsj=707 entrustmanager=709 \
entrust-ash=710 cisco-tdp=711 tbrpf=712 iris-xpc=713 iris-xpcs=714 iris-lwz=715 pana=716/u \
netviewdm1=729 netviewdm2=730 netviewdm3=731 netgw=741 netrcs=742 flexlm=744 fujitsu-dev=747 \
ris-cm=748 kerberos-adm=749 rfile=750/t loadav=750/u kerberos-iv=750/u,kdc pump=751 qrh=752 \
rrh=753 krb_prop=754/t,krb5_prop tell=754 nlogin=758 con=759 ns=760 rxe=761 quotad=762 \
cycleserv=763 omserv=764 webster=765 phonebook=767 vid=769 cadlock=770 rtip=771 cycleserv2=772 \
submit=773/t notify=773/u rpasswd=774/t acmaint-dbd=774/u,acmaint_dbd entomb=775/t \
acmaint-transd=775/u,acmaint_transd wpages=776 multiling-http=777 wpgs=780 \
mdbs-daemon=800,mdbs_daemon device=801 mbap-s=802 fcp-udp=810 itm-mcell-s=828 pkix-3-ca-ra=829 \
netconf-ssh=830 netconf-beep=831 netconfsoaphttp=832 netconfsoapbeep=833 dhcp-failover2=847 \
gdoi=848 domain-s=853 iscsi=860 owamp-control=861 twamp-control=862 supfilesrv=871/t rsync=873 \
iclcnet-locate=886 iclcnet_svinfo=887 accessbuilder=888 omginitialrefs=900 swat=901/t \
smpnameres=901 ideafarm-chat=902 ideafarm-catch=903 kink=910 xact-backup=911 apex-mesh=912 \
apex-edge=913 rndc=953/t ftps-data=989 ftps=990 nas=991 telnets=992 imaps=993 ircs=994 \
pop3s=995,spop3 vsinet=996 maitrd=997 busboy=998/t puparp=998/u garcon=999/t applix=999/u \
puprouter=999 cadlock2=1000 webpush=1001/t surf=1010 exp1=1021 exp2=1022 blackjack=1025 \
cap=1026 6a44=1027/u boinc-client=1043 nim=1058 nimreg=1059 instl-boots=1067,instl_boots \
instl-bootc=1068,instl_bootc socks=1080 webobjects=1085 ff-annunc=1089 ff-fms=1090 ff-sm=1091 \
cnrprotocol=1096 rmiactivation=1098 rmiregistry=1099 mctp=1100 kpop=1109 nfsd-status=1110/t \
nfsd-keepalive=1110/u supfiledbg=1127/t c1222-acse=1153 nfa=1155 cisco-ipsla=1167 \
tripwire=1169 skkserv=1178/t mysql-cluster=1186 openvpn=1194 rsf-1=1195 qt-serveradmin=1220 \
healthd=1281 pkt-krb-ipsec=1293 h323hostcallsc=1300 jtag-server=1309 hkrb5gatekeeper=1318/t \
krb5gatekeeper=1318/u netdb-export=1329 digital-notary=1335 icap=1344 ms-sql-s=1433 \
ms-sql-m=1434 ingreslock=1524 orasrv=1525 prospero-np=1525 pdap-np=1526 tlisrv=1527 \
pciarray=1552 issd=1600 nkd=1650 shiva_confsrvr=1651 xnmp=1652 l2f=1701 l2tp=1701 pptp=1723/t \
radius=1812/u radacct=1813/u ssdp=1900 licensedaemon=1986 tr-rsrb-p1=1987 tr-rsrb-p2=1988 \
tr-rsrb-p3=1989 stun-p1=1990 stun-p2=1991 stun-p3=1992 ipsendmsg=1992 snmp-tcp-port=1993 \
stun-port=1994 perf-port=1995 tr-rsrb-port=1996 gdp-port=1997 x25-svc-port=1998 \
tcp-id-port=1999 cfingerd=2003/t mailbox=2004/t oracle=2005/u raid-cc=2006/u raid-am=2007/u \
raid-cc=2011/t lam=2040 interbase=2041 nfsd=2049,nfs dlsrpn=2065 dlswpn=2067 gnunet=2086 \
descent3=2092 h2250-annex-g=2099 rtcm-sc104=2101 zephyr-srv=2102 zephyr-clt=2103/u \
zephyr-hm=2104/u minipay=2105 eklogin=2105 mzap=2106 ekshell=2106 gdbremote=2159 apc-2160=2160 \
apc-2161=2161 msfw-storage=2171 msfw-s-storage=2172 msfw-replica=2173 msfw-array=2174 \
airsync=2175 rapi=2176 vmrdp=2179 jps=2205 hpocbus=2206 hpssd=2207 hpiod=2208 rimf-ps=2209 \
mysql-im=2273 dbm=2345 rsmtp=2390 cvspserver=2401 venus=2430 venus-se=2431 codasrv=2432 \
codasrv-se=2433 sybasedbsynch=2439 citrixima=2512 citrixadmin=2513 hpstgmgr=2600 \
discp-client=2601 discp-server=2602 servicemeter=2603 nsc-ccs=2604 nsc-posa=2605 netmon=2606 \
connection=2607 wag-service=2608 dict=2628 smpp=2775 www-dev=2784 citrix-rtmp=2897 m2ua=2904 \
m3ua=2905/t megaco-h248=2944 h248-binary=2945 netplan=2983 cifs=3020 eppc=3031 gds_db=3050 \
grubd=3136 iscsi-target=3260 mysql=3306 ms-wbt-server=3389,rdp efi-lm=3392 \
prsvp=3455,rsvp-encap nppmp=3476 nut=3493 lsp-ping=3503 802-11-iapp=3517 jboss-iiop=3528 \
jboss-iiop-ssl=3529 m2pa=3565/t tsp=3653 daap=3689 svn=3690 bfd-control=3784 bfd-echo=3785 \
asap-tcp=3863/t asap-udp=3863/u asap-tcp-tls=3864/t diameter=3868/t mapper-nodemgr=3984 \
mapper-mapethd=3985 mapper-ws_ethd=3986 dnx=3998 lockd=4045 nuts_dem=4132 nuts_bootp=4133 \
nss=4159 sieve=4190 rwhois=4321 epmd=4369 krb524=4444 nv-video=4444 ipsec-nat-t=4500 \
hylafax=4559 ipfix=4739 ipfixs=4740 vxlan=4789/u derby-repli=4851 rfe=5002 mmcc=5050 sip=5060 \
sip-tls=5061 xmpp-client=5222 xmpp-server=5269 presence=5298 cfengine=5308 mdns=5353 \
mdnsresponder=5354 postgresql=5432 vami=5480 personal-agent=5555/t rplay=5555/u amqps=5671 \
amqp=5672 v5ua=5675 canna=5680/t auriga-router=5680/u vnc-server=5900 couchdb=5984 \
cvsup=5999/t x11=6000 x11-ssh=6010 sge_qmaster=6444 sge_execd=6445 sane-port=6566 \
kftp-data=6620 kftp=6621 ktelnet=6623 afesc-mc=6628/u ircu=6665 ircd=6667/t ircs-u=6697/t \
afs3-fileserver=7000 afs3-callback=7001 afs3-prserver=7002 afs3-vlserver=7003 \
afs3-kaserver=7004 afs3-volser=7005 afs3-errors=7006 afs3-bos=7007 afs3-update=7008 \
afs3-rmtsys=7009 afs3-resserver=7010 ups-onlinet=7010 afs3-remio=7011 font-service=7100 \
simco=7626/t ftp-proxy=8021/t intu-ec-client=8021/u http-alt=8080 privoxy=8118 puppet=8140/t \
pim=8471/t asterix=8600 ub-dns-control=8953/t aurora=9084 jetdirect=9100/t pdl-datastream=9100 \
bacula-dir=9101 bacula-fd=9102 bacula-sd=9103 prom-sysctl=9124/t git=9418 prom-ctl=9572/t \
odbcpathway=9628 davsrc=9800 davsrcs=9802 sd=9876 iua=9900 enrp=9901/u zabbix-agent=10050 \
zabbix-trapper=10051 amanda=10080 amandaidx=10082/t amidxtape=10083/t bpcd=13782 sua=14001/t \
amt-soap-http=16992 amt-soap-https=16993 amt-redir-tcp=16994 amt-redir-tls=16995 \
isode-dua=17007 biimenu=18000 nfsrdma=20049 wnn6=22273/t,wnn4 wnn6_Cn=22289/t,wnn4_Cn \
wnn6_Kr=22305/t,wnn4_Kr wnn6_Tw=22321/t,wnn4_Tw wnn6-ds=26208 dbbrowse=47557 \
";
