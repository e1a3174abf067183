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
    let scraper = Caller::Scraper("prometheus".to_owned());
    let roleless = Caller::Roleless {
        name: "tom".to_owned(),
        why: "no role".to_owned(),
    };
    let nobody = Caller::Nobody("no role".to_owned());
    let actions = [
        Action::Health,
        Action::Reflection,
        Action::Review,
        Action::Metrics,
        Action::Objects,
        Action::Visit,
        Action::Session,
        Action::Speak("a"),
        Action::Speak("b"),
    ];
    for (caller, allowed) in [
        (&Caller::Local, [1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (&operator, [1, 1, 1, 1, 1, 1, 0, 0, 0]),
        (&host, [1, 1, 1, 0, 0, 0, 1, 1, 0]),
        (&scraper, [1, 1, 1, 1, 0, 0, 0, 0, 0]),
        (&roleless, [1, 1, 1, 0, 0, 0, 0, 0, 0]),
        (&nobody, [0; 9]),
    ] {
        let found = actions.map(|action| u8::from(authorise(caller, action).is_ok()));
        assert_eq!(found, allowed, "{caller:?}");
    }
}
