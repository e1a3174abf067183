//! `struct ng_bridge_config` in words, as `setconfig` takes and `getconfig` prints it (sys/netgraph/ng_bridge.c, ng_parse.c).

use std::fmt::Write as _;

use crate::kernel::errno::Errno;

/// The fields, in their order, with what each may be at most.
const FIELDS: [(&str, u32); 4] = [
    ("debugLevel", u8::MAX as u32),
    ("loopTimeout", u32::MAX),
    ("maxStaleness", u32::MAX),
    ("minStableAge", u32::MAX),
];

/// The configuration of an ng_bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BridgeConfig([u32; 4]);

impl Default for BridgeConfig {
    /// `ng_bridge_constructor`; recording `06`.
    fn default() -> Self {
        Self([1, 60, 900, 1])
    }
}

impl BridgeConfig {
    /// `ng_parse_composite`: fields by name in any order, each once; what is left out is 0.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Errno> {
        let text = words.join(" ");
        let inner = text.trim().strip_prefix('{').ok_or(Errno::EINVAL)?;
        let inner = inner.strip_suffix('}').ok_or(Errno::EINVAL)?;
        let mut values = [None; 4];
        for word in inner.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or(Errno::EINVAL)?;
            let mut fields = FIELDS.iter();
            let at = fields.position(|(field, _)| *field == name);
            let at = at.ok_or(Errno::ENOENT)?;
            if values[at].is_some() {
                return Err(Errno::EALREADY);
            }
            let number: u32 = value.parse().map_err(|_| Errno::EINVAL)?;
            if number > FIELDS[at].1 {
                return Err(Errno::EINVAL);
            }
            values[at] = Some(number);
        }
        Ok(Self(values.map(Option::unwrap_or_default)))
    }

    /// `ng_unparse_composite`: what is 0 is left out.
    pub(crate) fn text(self) -> String {
        let mut text = String::from("{");
        for ((name, _), value) in FIELDS.iter().zip(self.0) {
            if value != 0 {
                let _ = write!(text, " {name}={value}");
            }
        }
        text.push_str(if text.len() > 1 { " }" } else { "}" });
        text
    }
}
