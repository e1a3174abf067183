//! The whole table.

use super::{Action, authorise};
use crate::identity::Caller;

#[test]
fn each_caller_may_do_its_own_and_nothing_else() {
    let host = Caller::Host {
        name: "a".to_owned(),
        key: "k".to_owned(),
    };
    let operator = Caller::Operator("olga".to_owned());
    let nobody = Caller::Nobody("no role".to_owned());
    let actions = [
        Action::Health,
        Action::Reflection,
        Action::Objects,
        Action::Visit,
        Action::Session,
        Action::Speak("a"),
        Action::Speak("b"),
    ];
    for (caller, allowed) in [
        (&Caller::Local, [true; 7]),
        (&operator, [true, true, true, true, false, false, false]),
        (&host, [true, false, false, false, true, true, false]),
        (&nobody, [false; 7]),
    ] {
        let found = actions.map(|action| authorise(caller, action).is_ok());
        assert_eq!(found, allowed, "{caller:?}");
    }
}
