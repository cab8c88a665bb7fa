//! What is taken out, and what is left.

use super::*;

fn masked(text: &str) -> String {
    Redactor::default().redact(text).text.into_owned()
}

/// Texts of which nothing may be taken.
fn untouched(texts: &[&str]) {
    for text in texts {
        let redacted = Redactor::default().redact(text);
        assert!(matches!(redacted.text, Cow::Borrowed(_)), "{text:?} became {:?}", redacted.text);
        assert_eq!(redacted.counts, [0; Redaction::COUNT]);
    }
}

#[test]
fn mail() {
    assert_eq!(masked("Write to jane.doe+x@mail.example.com."), "Write to <EMAIL>.");
    assert_eq!(masked("(a@b.co), 'c@d.org'"), "(<EMAIL>), '<EMAIL>'");
    assert_eq!(masked("邮箱：wang@qq.com，谢谢"), "邮箱：<EMAIL>，谢谢");
    untouched(&["a @ b", "user@host", "@name", "left-pad@1.3.0", "x@y..z", "me@", "git@github"]);
}

#[test]
fn phones() {
    assert_eq!(masked("Call +1 (555) 234-5678 or +44 20 7946 0958!"), "Call <PHONE> or <PHONE>!");
    assert_eq!(masked("(555) 234-5678, 555-234-5678, 1-800-234-5678"), "<PHONE>, <PHONE>, <PHONE>");
    assert_eq!(masked("电话13912345678。手机：139 1234 5678"), "电话<PHONE>。手机：<PHONE>");
    assert_eq!(masked("+86 139-1234-5678, +8613912345678, 010-12345678"), "<PHONE>, <PHONE>, <PHONE>");
    untouched(&[
        "2020-12-31",
        "12/31/2020",
        "1999-2004",
        "$1,234,567.89",
        "3.14159265358979",
        "1609459200",
        "1609459200000",
        "12:30:45",
        "ISBN 978-3-16-148410-0",
        "10000000000",
        "100 200 300",
        "1 + 1",
        "+100",
        "version 2.0.1.3-4",
        "23912345678901",
        "¥13912345678",
        "139123456789",
        "order #13912345678",
        "0.13912345678",
        "x13912345678",
        "911",
        "5551234",
        "2023 2024 2025",
        "1.2.840.113549",
    ]);
}

#[test]
fn internet_addresses() {
    assert_eq!(masked("from 8.8.8.8:53 and http://93.184.216.34/x"), "from <IPV4>:53 and http://<IPV4>/x");
    assert_eq!(masked("ping 2606:4700:4700::1111, please"), "ping <IPV6>, please");
    assert_eq!(masked("地址8.8.8.8。"), "地址<IPV4>。");
    untouched(&[
        "192.168.1.1",
        "10.0.0.1",
        "127.0.0.1",
        "0.0.0.0",
        "172.16.3.4",
        "203.0.113.5",
        "version 1.2.3.4",
        "v1.2.3.4",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3",
        "01.02.03.04",
        "Chrome/96.0.46.110",
        "Section 8.1.2.3",
        "std::fmt::Display",
        "a::b",
        "12:30:45",
        "::1",
        "fe80::1",
        "2001:db8::1",
        "beef::cafe",
        "ab:cd:ef:01:23:45",
    ]);
    let private = Redactor { private_addresses: true, ..Redactor::default() };
    assert_eq!(private.redact("192.168.1.1 fe80::1").text, "<IPV4> <IPV6>");
}

#[test]
fn cards() {
    assert_eq!(masked("4111 1111 1111 1111, 5500-0055-5555-5559"), "<CARD>, <CARD>");
    assert_eq!(masked("378282246310005 and 6222020000000000004."), "<CARD> and 6222020000000000004.");
    untouched(&[
        "4111 1111 1111 1112",
        "1234567890123456",
        "0000000000000000",
        "41111111111111111111",
        "3.4111111111111111",
    ]);
}

#[test]
fn chinese_identity_numbers() {
    assert_eq!(masked("身份证11010519491231002X。"), "身份证<CHINESE_ID>。");
    assert_eq!(masked("440524188001010014"), "<CHINESE_ID>");
    // A check character, a month, a region that are none; and a longer number.
    untouched(&["110105194912310021", "110105194913310025", "99010519491231002X", "1110105194912310020"]);
}

#[test]
fn keys_and_tokens() {
    // Put together here, so that no scanner takes this file for a leak.
    let body = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY1zA2";
    let cases = [
        (format!("AKIA{}", "IOSFODNN7EXAMPLE"), Redaction::AwsKey),
        (format!("ghp_{body}"), Redaction::GithubToken),
        (format!("sk-{body}"), Redaction::OpenaiKey),
        (format!("sk-proj-{body}"), Redaction::OpenaiKey),
        (format!("AIza{}", &body[..35]), Redaction::GoogleKey),
        (format!("xoxb-{body}"), Redaction::SlackToken),
        (format!("sk_live_{body}"), Redaction::StripeKey),
        (format!("hf_{body}"), Redaction::PlatformToken),
        (format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{body}"), Redaction::Jwt),
        (
            format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n{body}==\n-----END RSA PRIVATE KEY-----"),
            Redaction::PrivateKey,
        ),
    ];
    for (key, kind) in cases {
        let redacted = Redactor::default().redact(&key);
        assert_eq!(redacted.text, kind.mask(), "{key}");
        assert_eq!(redacted.count(kind), 1);
        assert_eq!(masked(&format!("key=\"{key}\", end")), format!("key=\"{}\", end", kind.mask()));
    }
    untouched(&[
        "sk-learn",
        "sk-this-is-only-a-long-name-of-a-style",
        "AKIA",
        "AKIAiosfodnn7example",
        "task-aB3dE5fG7hJ9kL1mN2pQ4rS",
        "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        "eyJ.eyJ.x",
        "hf_hub_download",
        "npm_config_cache",
    ]);
    let open = "-----BEGIN PRIVATE KEY-----\nMIIB\n\nThen other words.";
    assert_eq!(masked(open), "<PRIVATE_KEY>\n\nThen other words.");
}

#[test]
fn examples_take_turns_and_kinds_are_chosen() {
    let redactor = Redactor { replacement: Replacement::Example, ..Redactor::default() };
    let redacted = redactor.redact("a@b.co c@d.org e@f.net 8.8.8.8");
    assert_eq!(redacted.text, "email@example.com firstname.lastname@example.org email@example.com 192.0.2.1");
    assert_eq!((redacted.count(Redaction::Email), redacted.count(Redaction::Ipv4)), (3, 1));
    let only = Redactor { kinds: vec![Redaction::Ipv4], ..Redactor::default() };
    assert_eq!(only.redact("a@b.co 8.8.8.8").text, "a@b.co <IPV4>");
}

#[test]
fn names_are_read_back() {
    for kind in Redaction::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(Redaction::ALL[kind as usize], kind);
        assert_eq!(kind.mask(), format!("<{}>", kind.name().to_uppercase()));
    }
    assert!("e-mail".parse::<Redaction>().unwrap_err().contains("did you mean \"email\"?"));
    let unknown = serde_json::from_str::<Redactor>(r#"{"kind": []}"#).unwrap_err();
    assert!(unknown.to_string().contains("unknown field"));
}

#[test]
fn masked_text_has_nothing_left() {
    let text = "a@b.co +1 555 234 5678 8.8.8.8 4111111111111111 11010519491231002X 2606:4700:4700::1111";
    let once = masked(text);
    assert_eq!(masked(&once), once);
}

#[test]
fn hostile_texts_take_linear_time() {
    let (many, start) = (1 << 20, std::time::Instant::now());
    let units = [
        "@",
        "a@",
        "a.",
        "a@a.",
        "1",
        "1.",
        "1 ",
        "1-",
        "+1",
        "(1",
        ":",
        "a:",
        "::",
        "1:",
        "eyJ",
        "eyJ.",
        "eyJaaaaaaaaaa.eyJ.",
        "sk-",
        "AKIA",
        "ghp_",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "-----",
        "é1",
        "日1",
        "a@b.co",
    ];
    for unit in units {
        Redactor::default().redact(&unit.repeat(many / unit.len()));
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn numbers_beside_each_other_are_apart() {
    assert_eq!(masked("13912345678 13812345678"), "<PHONE> <PHONE>");
    assert_eq!(masked("139 1234 5678 138 1234 5678"), "<PHONE> <PHONE>");
    assert_eq!(masked("4111 1111 1111 1111 12/25"), "<CARD> 12/25");
    assert_eq!(masked("+44 20 7946 0958 2023"), "<PHONE> 2023");
}
