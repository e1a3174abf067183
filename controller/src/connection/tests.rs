//! Connections on virtual time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn is_given_up<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_which_nobody_asks_is_given_up() {
    let (ours, mut theirs) = duplex(64);
    let mut connection = Connection::new(ours, PATIENCE);
    let began = Instant::now();
    assert!(is_given_up(connection.read_u8().await));
    assert_eq!(began.elapsed(), UNKNOWN);

    // Nor does it help to say something all the time.
    let (ours, mut talking) = duplex(64);
    let mut connection = Connection::new(ours, PATIENCE);
    let began = Instant::now();
    loop {
        talking.write_u8(0).await.expect("there is room");
        tokio::time::sleep(Duration::from_secs(1)).await;
        if is_given_up(connection.read_u8().await) {
            break;
        }
    }
    assert_eq!(began.elapsed(), UNKNOWN);
    theirs.write_u8(0).await.expect("there is room");
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_which_somebody_has_asked_stays() {
    let (ours, mut theirs) = duplex(64);
    let mut connection = Connection::new(ours, PATIENCE);
    connection.known.asked();
    let later = async {
        tokio::time::sleep(100 * UNKNOWN).await;
        theirs.write_u8(7).await.expect("there is room");
    };
    let (read, ()) = tokio::join!(connection.read_u8(), later);
    assert_eq!(read.ok(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
    let (ours, mut theirs) = duplex(4);
    let mut connection = Connection::new(ours, PATIENCE);
    let began = Instant::now();
    assert!(is_given_up(connection.write_all(&[0; 8]).await));
    assert_eq!(began.elapsed(), PATIENCE);

    let (ours, mut slow) = duplex(4);
    let mut connection = Connection::new(ours, PATIENCE);
    let reading = async {
        for _ in 0..16 {
            tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
            slow.read_u8().await.expect("there is some");
        }
    };
    let (written, ()) = tokio::join!(connection.write_all(&[0; 16]), reading);
    written.expect("it goes on");
    theirs.read_u8().await.expect("there is some");
}
