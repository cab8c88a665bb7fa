use super::*;

const PAGE: &str = "<!DOCTYPE html><html><head><title>Soil</title><style>p { color: red }</style>\
<SCRIPT type=\"text/javascript\">if (a < b) { document.write('<p>no</p>'); }</SCRIPT ></head><body>\
<!-- a > comment --><h1>What soil <em>i</em>s</h1><p title=\"a > b\">Fish &amp; chips cost &lt; &pound;9&#46;</p>\
<table><tr><td>one</td><td>two</td></tr></table>a < b<br/>the end</body></html>";

#[test]
fn a_page_becomes_its_text() {
    assert_eq!(strip_tags(PAGE), "Soil\nWhat soil is\nFish & chips cost < £9.\none two\na < b\nthe end\n");
    assert_eq!(strip_tags("<doc><title>甲</title><text>乙 &lt;丙&gt;</text></doc>"), "甲\n乙 <丙>\n");
    assert_eq!(strip_tags("<a href='x'>土</a>壤"), "土壤");
    assert_eq!(strip_tags("<x><![CDATA[1 < 2 & <b>]]></x>"), "1 < 2 & <b>\n");
    assert!(matches!(strip_tags("no marks, 没有"), Cow::Borrowed(_)));
}

#[test]
fn broken_pages_keep_their_text() {
    for (page, text) in [
        ("<", "<"),
        ("a <b", "a <b"),
        ("a < b > c", "a < b > c"),
        ("<3 you", "<3 you"),
        ("《<红楼梦>》", "《<红楼梦>》"),
        ("before<script>var x = 1;", "before"),
        ("before<!-- never closed", "before"),
        ("a<p title=\"never closed>b", "a\nb"),
        ("a<p title=it's>b", "a\nb"),
        ("</p></p>a</p", "a</p"),
        ("&", "&"),
        ("&nosuch; &#xFFFFFF; &#;", "&nosuch; &#xFFFFFF; &#;"),
        ("<![CDATA[open", "open"),
        ("<!", "<!"),
        ("<?xml version='1.0'?>a", "a"),
        ("<script/>kept", "kept"),
        ("<style>p{}</style", ""),
    ] {
        assert_eq!(strip_tags(page), text, "{page}");
    }
    // Quadratic work on these would not end.
    for part in ["<", "<a", "<a=\"", "</", "<!--", "<script>", "<a='\"", "&", "<![CDATA["] {
        let page = part.repeat(300_000);
        strip_tags(&page);
        strip_tags(&(page + ">"));
    }
}

#[test]
fn letters_of_every_script_and_nothing_else() {
    assert_eq!(
        letters("  Don't: 3 cafés, naïve—ok!\n\n土壤,2024 年。\tDone "),
        "Don t cafés naïve ok\n土壤\n年 Done".replace("土壤\n年", "土壤 年")
    );
    assert_eq!(letters("नमस्ते 123"), "नमस्ते");
    assert_eq!(letters("12 \u{301} !?"), "");
    assert_eq!(lowercase("ÄRGER Στάσις ПЧЕЛА 土"), "ärger στάσις пчела 土");
}

#[test]
fn stop_words_of_both_languages_by_their_script() {
    let both = |text: &str| stop_words(text, None);
    assert_eq!(both("The cat isn't on the mat."), "cat mat.");
    assert_eq!(both("The cat isn’t\nthe dog  and\nI"), "cat\ndog");
    assert_eq!(both("of the and"), "");
    assert_eq!(both("no  stop   gap"), "stop   gap");
    assert_eq!(both("我的猫喜欢鱼，你的狗呢？"), "猫 喜欢 鱼，狗？");
    assert_eq!(stop_words("the 我的猫", Some(Language::English)), "我的猫");
    assert_eq!(stop_words("the 我的猫", Some(Language::Chinese)), "the 猫");
    assert_eq!(both("他们的"), "");
}

#[test]
fn chinese_words_and_english_stems() {
    assert_eq!(split_words("土壤里有水。I love机器学习3次"), "土壤 里 有 水。I love 机器 学习 3 次");
    assert_eq!(split_words("plain English, as it was"), "plain English, as it was");
    assert_eq!(stem("Running runs easily; the cats' generations"), "run run easili; the cat' generat");
    assert_eq!(stem("café 跑步 naïve 42nd"), "café 跑步 naïve 42nd");
    let long = "x".repeat(1000);
    assert_eq!(stem(&long), long);
}

#[test]
fn twice_is_once_where_that_is_promised() {
    let texts =
        [PAGE, "The Cats' 9 lives,\r\nİstanbul e\u{301}!", "我的猫喜欢鱼。", "", "a\u{301}\u{301} &amp; b", "Ǆ ﬁ"];
    for text in texts {
        for step in [Step::Letters, Step::Lowercase, Step::StopWords(Some(Language::English))] {
            let once = step.apply(text).into_owned();
            assert_eq!(step.apply(&once), once, "{step} of {text:?}");
        }
        let once = split_words(text);
        assert_eq!(split_words(&once), once, "{text:?}");
    }
    let plain = strip_tags(PAGE).into_owned();
    assert_eq!(strip_tags(&plain), plain);
    // Escaped marks are the exception, and a documented one.
    assert_eq!(strip_tags(&strip_tags("&lt;b&gt;x")), "x");
}

#[test]
fn steps_are_taken_in_order_and_say_what_left_nothing() {
    let steps = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Step>>();
    let all = steps(&["strip_tags", "letters", "lowercase", "stop_words"]);
    assert_eq!(clean(PAGE, &all).unwrap(), "soil\nsoil\nfish chips cost\none two\nb\nend");
    // Without tags there is nothing to strip after letters have gone.
    assert_eq!(clean("<b>Hi</b>", &steps(&["letters", "strip_tags"])).unwrap(), "b Hi b");
    assert_eq!(clean(" \u{feff}\r\n", &all), Err(NoText::Blank));
    assert_eq!(clean("<script>x</script>", &all), Err(NoText::After(Step::StripTags)));
    assert_eq!(clean("12 + 30", &all), Err(NoText::After(Step::Letters)));
    let nothing = clean("to be or not to be", &all).unwrap_err();
    assert_eq!(nothing.to_string(), "nothing left after stop_words");
    assert_eq!(clean("e\u{301}", &[]).unwrap(), "é");
}

#[test]
fn a_damaged_page_becomes_plain_text() {
    let steps: Vec<Step> =
        ["mojibake", "strip_tags", "control", "width", "simplified"].map(|name| name.parse().unwrap()).to_vec();
    let page = "<p>donâ€™t\u{200B} stop</p><p>軟體Ｌｏａｍ２．０，好用！</p><p>浣犲ソ</p>";
    assert_eq!(clean(page, &steps).unwrap(), "don’t stop\n软体Loam2.0，好用！\n你好\n");
    assert_eq!(clean("\u{200B}\u{AD}", &["control".parse().unwrap()]), Err(NoText::After(Step::Control)));
    assert_eq!(clean("①ﬁ", &["nfkc".parse().unwrap(), "nfc".parse().unwrap()]).unwrap(), "1fi");
}

#[test]
fn unknown_steps_name_the_nearest() {
    let wrong = |name: &str| name.parse::<Step>().unwrap_err();
    assert!(wrong("stopwords").ends_with("did you mean \"stop_words\"?"), "{}", wrong("stopwords"));
    assert!(wrong("Strip Tags").ends_with("did you mean \"strip_tags\"?"));
    assert!(wrong("lower").ends_with("\"stem\"") || wrong("lower").contains("did you mean"));
    assert!(!wrong("quantize").contains("did you mean"));
    for (near, name) in [("mojibak", "mojibake"), ("NFKC", "nfkc"), ("simplify", "simplified"), ("controls", "control")]
    {
        assert!(wrong(near).ends_with(&format!("did you mean \"{name}\"?")), "{}", wrong(near));
    }
    for step in Step::ALL {
        assert_eq!(step.name().parse(), Ok(step));
        assert_eq!(serde_json::from_str::<Step>(&serde_json::to_string(&step).unwrap()).unwrap(), step);
    }
}
