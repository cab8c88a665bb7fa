use encoding_rs::{Encoding, GBK, WINDOWS_1252};

use super::*;

/// Texts of many languages, which are right as they are.
const RIGHT: [&str; 24] = [
    "naïve café, Straße, Ærøskøbing, smörgåsbord, São Tomé, Łódź",
    "Ã",
    "a letra Ã tem til; “Ô e 'Ã' e «Ã».",
    "NÃO, A IRMÃ — AMANHÃ… “AMANHÔ",
    "ÉCOLE DES BEAUX-ARTS, À LA CARTE, L’ÉTÉ… « Â », «\u{a0}À\u{a0}», CAFÉ™, CAFÉ», « voilà\u{a0}»",
    "« il a été\u{a0}» ; « mangé… » ; “olé”—dit-il ; l’ÉTÉ’",
    "Tiếng Việt: Đồng bào, NGƯỜI, LÃ, ĐÃ “ĐÔ, VÂN",
    "Ελληνικά: Ένα κείμενο σωστό. «ΑΒΓ»",
    "Русский текст: «СССР», ещё. Україна — Її рік, СІРІ",
    "Česky: nejvyšší, Úžas, VÝŠE, náš“, píš…, “Öš”, KRÁLŮV HRÁDEK",
    "Å–Ä–Ö, A–Ä–Ö–Ü–ß, GRÖSSE–BREITE, PÅ”, SMÅ…",
    "HÂLÂ, HÂLÂ\u{a0}», hâlâ”…, hâlâ»—, Îles, ROMÂNIA®",
    "3×½, 4×3”, 25 °C, ±5 µm, £5, ©2024, 5€, ½ ¼, ¿Qué? ¡No!",
    "日本語の文章です。カタカナ、ﾊﾝｶｸ。",
    "한국어 문장입니다.",
    "此开卷第一回也。作者自云：因曾历过一番梦幻之后，故将真事隐去，而借“通灵”之说。",
    "繁體中文也不變：軟體、後來、裡面。",
    "涓涓细流，潺潺流水，鈥试验，浣熊，浣纱，浣衣局",
    "浣熊\n浣\n涓涓\n銇\n鈥\n浣�\n浣?\n鈥?",
    "锟斤拷",
    "烫烫烫屯屯屯锟斤拷",
    "ملف عربي صحيح، 'نص'",
    "עברית נכונה – “ציטוט”",
    "🎉 ¯\\_(ツ)_/¯ (°□°) ಠ_ಠ ʕ•ᴥ•ʔ",
];

/// What text looks like whose UTF-8 was read in an encoding.
fn misread(text: &str, encoding: &'static Encoding) -> String {
    encoding.decode_without_bom_handling(text.as_bytes()).0.into_owned()
}

fn as_latin_1(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[test]
fn right_text_stays_in_any_language() {
    for text in RIGHT {
        for line in text.lines() {
            assert!(matches!(mojibake(line), Cow::Borrowed(_)), "{line} became {}", mojibake(line));
        }
        assert_eq!(mojibake(text), text);
    }
    let together = RIGHT.join("\n");
    assert_eq!(mojibake(&together), together);
}

#[test]
fn one_damaged_character_is_mended() {
    for (damaged, text) in [
        ("cafÃ©", "café"),
        ("naÃ¯ve", "naïve"),
        ("FranÃ§ais", "Français"),
        ("donâ€™t â€œquoteâ€\u{9d} â€“ â€” â€¦", "don’t “quote” – — …"),
        ("Â£5, 25Â°C, Â©2024, word.Â\u{a0} Next", "£5, 25°C, ©2024, word.\u{a0} Next"),
        ("Ãœber Ã–sterreich", "Über Österreich"),
        ("Å“uvre, cÅ“ur", "œuvre, cœur"),
        ("dÃ\u{ad}a, Ã\u{ad}ndice", "día, índice"),
        ("voilÃ\u{a0} le travail", "voilà le travail"),
        ("voilÃ  le travail", "voilà le travail"),
        ("Arg-Ã© Bam, UÃ\u{ad}ge", "Arg-é Bam, Uíge"),
        ("ESPAÃ‘A, MAÃ‰", "ESPAÑA, MAÉ"),
        ("ðŸ˜€ ðŸŽ‰", "😀 🎉"),
        ("ï»¿text", "\u{feff}text"),
        ("PoznaÅ„, ÅºdÅºbÅ‚o, zaÅ¼Ã³Å‚Ä‡", "Poznań, źdźbło, zażółć"),
        ("ç\u{9d}€å¤§", "着大"),
        ("â€\u{fffd} stays", "â€\u{fffd} stays"),
        ("a lost ï¿½ one", "a lost \u{fffd} one"),
        ("\u{93}quoted\u{94} 5\u{80}", "“quoted” 5€"),
    ] {
        assert_eq!(mojibake(damaged), text, "{damaged}");
    }
}

#[test]
fn texts_of_many_languages_come_back() {
    let texts = [
        "Le cœur a ses raisons que la raison ne connaît point ; voilà où l’on va à l’été.",
        "El niño comió piñas en la montaña. ¿Qué pasó mañana?",
        "Größe, Übermut und Ärger: „Füße“ – so heißt’s.",
        "Zażółć gęślą jaźń, Łódź, ćma.",
        "Příliš žluťoučký kůň úpěl ďábelské ódy.",
        "Tiếng Việt có nhiều dấu: người, đồng bào, rồi.",
        "Съешь же ещё этих мягких французских булок.",
        "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
        "دِيباجة: نص عربي قصير للاختبار.",
        "עברית: שלום עולם.",
        "हिन्दी में एक वाक्य।",
        "ภาษาไทยเป็นภาษาที่มีวรรณยุกต์",
        "此开卷第一回也。作者自云，曾历过一番梦幻之后。",
        "日本語の文章です。",
        "한국어 문장입니다.",
        "မြန်မာဘာသာ၊ ភាសាខ្មែរ, ქართული, አማርኛ, བོད་ཡིག",
        "Emoji 😀 and “quotes” — dashes…",
    ];
    for text in texts {
        for read in [|text: &str| misread(text, WINDOWS_1252), as_latin_1] {
            let mut damaged = text.to_owned();
            for times in 1..=3 {
                damaged = read(&damaged);
                assert_eq!(mojibake(&damaged), text, "{times} times over");
            }
        }
    }
}

#[test]
fn chinese_that_was_read_as_gbk_comes_back() {
    for (damaged, text) in [
        ("浣犲ソ", "你好"),
        ("鎴戠埍浣犱腑鍥�", "我爱你中\u{fffd}"),
        ("浣犲ソ鍚?", "你好\u{fffd}"),
        ("绂�宕囧倷鐗╋紝妯傚�忛彉閲戙��", "\u{fffd}崇備物，樂\u{fffd}鏘金\u{fffd}"),
        ("say 浣犲ソ, friend", "say 你好, friend"),
        ("it鈥檚 鈥淗i", "it’s “Hi"),
        ("锟斤拷锟斤拷", "锟斤拷锟斤拷"),
        ("浣犲ソ锟斤拷", "浣犲ソ锟斤拷"),
    ] {
        assert_eq!(mojibake(damaged), text, "{damaged}");
    }
    for text in [
        "此开卷第一回也。作者自云，曾历过一番梦幻之后。",
        "土壤里有水，一天天地下去。",
        "日本語の文章です、よ",
        "繁體中文也不變，後來的",
    ] {
        let damaged = misread(text, GBK);
        let kept = text.chars().count() - usize::from(damaged.contains('\u{fffd}'));
        let mended = mojibake(&damaged);
        let same = mended.chars().zip(text.chars()).take_while(|(one, other)| one == other).count();
        assert!(same >= kept && mended.chars().count() == text.chars().count(), "{damaged} became {mended}");
        assert_ne!(damaged, text);
    }
}

#[test]
fn a_damaged_line_among_right_ones_is_mended_alone() {
    let text = "Ã\n“AMANHÔ\nune citation : lâ€™Ã©tÃ© Ã  Paris, Â\u{a0};\nété\u{a0}»";
    assert_eq!(mojibake(text), "Ã\n“AMANHÔ\nune citation : l’été à Paris, \u{a0};\nété\u{a0}»");
    // Where something speaks against it, only what is certain is.
    assert_eq!(mojibake("l’été\u{a0}» : lâ€™été\u{a0}»"), "l’été\u{a0}» : l’été\u{a0}»");
}

#[test]
fn mended_text_stays_and_hostile_text_ends() {
    for text in RIGHT {
        for read in [|text: &str| misread(text, WINDOWS_1252), as_latin_1, |text: &str| misread(text, GBK)] {
            let once = mojibake(&read(text)).into_owned();
            assert_eq!(mojibake(&once), once, "{text}");
        }
    }
    for part in ["Ã", "Ã©", "â€", "ð", "ÃƒÆ’Ã†â€™", "浣犲ソ", "浣", "\u{85}", "Â", "é ", "鈥"]
    {
        let long = part.repeat(300_000);
        mojibake(&long);
        mojibake(&(long + "é"));
    }
    let mut state = 7_u64;
    for _ in 0..3000 {
        let random: String = (0..24)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pool = [
                    'Ã', 'â', '€', '™', '\u{9d}', 'é', ' ', 'a', 'Z', '浣', '犲', 'ソ', '\u{fffd}', '?', 'ð', 'Ÿ', '˜',
                ];
                pool[(state >> 33) as usize % pool.len()]
            })
            .collect();
        mojibake(&random);
    }
}
