//! Chat templates against transformers, and templates that do harm. `fixtures/chat.py` writes what they are compared with.

use loam_tasks::chat::{CHATML, ChatTemplate, Message};
use serde_json::Value;

fn template(source: &str) -> Result<ChatTemplate, String> {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.to_owned(), token.to_owned()));
    ChatTemplate::new(source.to_owned(), tokens.to_vec(), "test".to_owned()).map_err(|error| error.to_string())
}

#[test]
fn templates_write_what_they_write_in_transformers() {
    let all: Value = serde_json::from_str(include_str!("fixtures/chat.json")).unwrap();
    let mut compared = 0;
    for case in all["cases"].as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let template = template(all["templates"][name].as_str().unwrap()).unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let rendered = template.render(&messages, case["prompt"].as_bool().unwrap());
        if let Some(text) = case["text"].as_str() {
            let rendered = rendered.unwrap();
            assert_eq!(rendered.text, text, "{name}: {messages:?}");
            let characters = |byte: usize| rendered.text[..byte].chars().count() as u64;
            let answers: Vec<[u64; 2]> =
                rendered.answers.iter().map(|answer| [answer.start, answer.end].map(characters)).collect();
            assert_eq!(serde_json::json!(answers), case["answers"], "{name}: {messages:?}");
        } else {
            let error = rendered.unwrap_err().to_string();
            let raised = case["error"].as_str().unwrap();
            assert!(error.contains(raised), "{name}: {error} does not say {raised}");
        }
        compared += 1;
    }
    assert!(compared >= 50, "{compared}");
}

#[test]
fn harmful_templates_end_in_words() {
    let messages = [Message::new("user", "hello")];
    for (source, word) in [
        ("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", "without end"),
        ("{% macro again(x) %}{{ again(x) }}{% endmacro %}{{ again(1) }}", "test"),
        ("{{ messages | nothing_like_it }}", "nothing_like_it"),
        ("{% include 'secret' %}", "include"),
        ("{{ raise_exception('not with me') }}", "not with me"),
        ("{{ messages[0].content.nothing() }}", "test"),
        ("{{ range(100000000) | list }}", "test"),
    ] {
        let error = match template(source) {
            Ok(template) => template.render(&messages, true).unwrap_err().to_string(),
            Err(error) => error,
        };
        assert!(error.contains(word), "{source}: {error}");
    }
    for source in ["{% if %}", "{%}", "{{ 1 +", "{% endfor %}", "{% for x in y %}"] {
        let error = template(source).unwrap_err();
        assert!(error.contains("not a valid template") && error.contains("line 1"), "{error}");
    }
}

#[test]
fn templates_take_no_more_memory_than_their_fuel() {
    let messages = [Message::new("user", "hello")];
    let grow = |step: &str, end: &str| {
        format!("{{% set n = namespace(x='ab', l=['ab']) %}}{{% for i in range(60) %}}{step}{{% endfor %}}{end}")
    };
    for source in [
        grow("{% set n.x = n.x + n.x %}", "{{ n.x }}"),
        grow("{% set n.x = n.x ~ n.x %}", "{{ n.x }}"),
        grow("{% set n.x = n.x * 9 %}", "{{ n.x }}"),
        grow("{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}", "{{ n.x }}"),
        grow("{% set n.x = n.x.replace('a', n.x) %}", "{{ n.x }}"),
        grow("{% set n.x = n.x | replace('a', n.x) %}", "{{ n.x }}"),
        grow("{% set n.x = n.x.join([n.x, n.x, n.x]) %}", "{{ n.x }}"),
        grow("{% set n.x = [n.x, n.x] | join(n.x) %}", "{{ n.x }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ n.l | tojson }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ n.l | tojson(indent=16) }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ n.l }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ n.l | string }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ n.l | join }}"),
        grow("{% set n.l = [n.l, n.l] %}", "{{ ','.join(n.l) }}"),
        grow("{% set n.l = {'a': n.l, 'b': n.l} %}", "{{ n.l | pprint }}"),
        grow("{% set n.l = (n.l, n.l) %}", "{{ n.l }}"),
        grow("{% set n.l = [n.l] * 2 %}", "{{ n.l }}"),
        "{{ 'a' * 10**12 }}".to_owned(),
        "{{ '%1000000000000d' | format(1) }}".to_owned(),
        "{{ '{:>1000000000000}'.format(1) }}".to_owned(),
        "{{ 'x\n' * 1000 | indent(10**12) }}".to_owned(),
        "{{ ('x\n' * 1000) | indent(10**9) }}".to_owned(),
        "{{ ([0] * 10**12) | list }}".to_owned(),
        "{{ ([0] * 10**9) | tojson }}".to_owned(),
        "{{ (([0] * 10**4) | batch(10**9, 'x') | list)[0] | length }}{{ 'a' * 10**12 }}".to_owned(),
        "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('ab' * 100) }}".to_owned(),
    ] {
        println!("{source}");
        let begun = std::time::Instant::now();
        let error = template(&source).and_then(|template| template.render(&messages, true).map_err(|e| e.to_string()));
        assert!(error.is_err(), "{source} gave {} bytes", error.map_or(0, |rendered| rendered.text.len()));
        assert!(begun.elapsed().as_secs() < 20, "{source} took {:?}", begun.elapsed());
    }
}

#[test]
fn the_plain_layout_marks_its_answers() {
    let messages = [Message::new("user", "a"), Message::new("assistant", "b")];
    let rendered = template(CHATML).unwrap().render(&messages, true).unwrap();
    assert_eq!(
        rendered.text,
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(&rendered.text[rendered.answers[0].clone()], "b<|im_end|>");
}

#[test]
fn a_folder_has_its_template_in_one_of_several_places() {
    let folder = tempfile::tempdir().unwrap();
    let render = || ChatTemplate::of_folder(folder.path()).unwrap().map(|t| t.render(&[], false).unwrap().text);
    assert_eq!(render(), None);
    let config = folder.path().join("tokenizer_config.json");
    std::fs::write(&config, r#"{"bos_token":{"content":"<b>"},"chat_template":"{{ bos_token }}1"}"#).unwrap();
    assert_eq!(render().as_deref(), Some("<b>1"));
    let named = r#"{"chat_template":[{"name":"tool_use","template":"2"},{"name":"default","template":"3"}]}"#;
    std::fs::write(&config, named).unwrap();
    assert_eq!(render().as_deref(), Some("3"));
    std::fs::write(folder.path().join("chat_template.jinja"), "4\n").unwrap();
    assert_eq!(render().as_deref(), Some("4"));
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    for broken in [r#"{"chat_template":7}"#, r#"{"chat_template":[]}"#, "{", r#"{"chat_template":"{%"}"#] {
        std::fs::write(&config, broken).unwrap();
        let error = ChatTemplate::of_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer_config.json"), "{error}");
    }
    assert!(ChatTemplate::named("no/such/file", folder.path()).is_err());
    assert!(ChatTemplate::named("chatml", folder.path()).is_ok());
}
