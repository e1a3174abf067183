use serde_json::Number;

use super::{Scalar, plain};

#[test]
fn words_mean_what_yaml_1_2_says() {
    for text in [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "n",
        "12:30",
        "1:2",
        "1_000",
        "0x",
        "0xg",
        "0o8",
        "1.2.3",
        "192.0.2.0/28",
        "-",
        ".",
        "..",
        "1-2",
        "1e",
        ".inf",
        "1e999",
        "02:00:5e:10:00:07",
        "nan",
    ] {
        assert_eq!(plain(text), Scalar::Text, "{text}");
    }
    for text in ["", "~", "null"] {
        assert_eq!(plain(text), Scalar::Null, "{text}");
    }
    assert_eq!(plain("true"), Scalar::Bool(true));
    assert_eq!(plain("FALSE"), Scalar::Bool(false));
    for (text, number) in [("0", 0), ("-5", -5), ("+5", 5), ("0x1F", 31), ("0o17", 15)] {
        assert_eq!(plain(text), Scalar::Number(Number::from(number)), "{text}");
    }
    assert_eq!(
        plain("18446744073709551615"),
        Scalar::Number(Number::from(u64::MAX))
    );
    for text in ["1.5", "1e3", ".5", "5.", "99999999999999999999"] {
        assert!(
            matches!(plain(text), Scalar::Number(number) if number.is_f64()),
            "{text}"
        );
    }
    for text in ["010", "-007", "00"] {
        assert_eq!(plain(text), Scalar::Ambiguous, "{text}");
    }
}
