use super::{Constraints, MAX_CONSTRAINT_BYTES};
use crate::inference::tokenizer::tests::small;
use crate::inference::{Constraint, InferenceError, Tool};
use serde_json::{Value, json};
use std::sync::Arc;

const END: u32 = 262;

fn constraints() -> Constraints {
    Constraints::new(Arc::new(small()))
}

/// Draws allowed tokens by `seed` until the form is complete, at most 400; the end is drawn where it may be.
fn draw(constraints: &Constraints, form: &Constraint, mut seed: u64) -> Option<String> {
    let tokenizer = small();
    let mut constrained = constraints.begin(form).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..400 {
        if constrained.is_finished() {
            return String::from_utf8(bytes).ok();
        }
        let logits = vec![0.0; tokenizer.len()];
        let masked = constrained.mask(&logits).unwrap();
        let allowed: Vec<u32> = (0..)
            .zip(masked)
            .filter(|(_, logit)| **logit == 0.0)
            .map(|(id, _)| id)
            .collect();
        assert!(!allowed.is_empty());
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let token = allowed[(seed >> 33) as usize % allowed.len()];
        if tokenizer.is_end(token) {
            return String::from_utf8(bytes).ok();
        }
        assert!(!tokenizer.is_control(token));
        constrained.accept(token).unwrap();
        bytes.extend_from_slice(tokenizer.token_bytes(token));
    }
    None
}

/// The texts drawn by 40 seeds that were complete; at least 10.
fn drawn(form: &Constraint) -> Vec<String> {
    let constraints = constraints();
    let texts: Vec<String> = (0..40).filter_map(|seed| draw(&constraints, form, seed)).collect();
    assert!(texts.len() >= 10, "{} of 40 texts of {form:?}", texts.len());
    texts
}

fn refusal(form: &Constraint) -> (&'static str, String) {
    match constraints().begin(form) {
        Err(InferenceError::BadParameter { name, detail }) => (name, detail),
        other => panic!("{form:?}: {other:?}"),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn json_keeps_its_schema() {
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": {"enum": ["退货", "换货"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 20},
            "note": {"type": "string", "maxLength": 5},
        },
        "required": ["kind", "count", "note"],
        "additionalProperties": false,
    });
    for text in drawn(&Constraint::JsonSchema(schema)) {
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(["退货", "换货"].contains(&value["kind"].as_str().unwrap()));
        assert!((1..=20).contains(&value["count"].as_i64().unwrap()));
        assert!(value["note"].as_str().unwrap().chars().count() <= 5);
        assert_eq!(value.as_object().unwrap().len(), 3);
    }
}

#[test]
fn a_json_object_begins_as_one() {
    let constraints = constraints();
    let mut constrained = constraints.begin(&Constraint::JsonObject).unwrap();
    let allowed: Vec<usize> = (constrained.mask(&[0.0; 264]).unwrap().iter().enumerate())
        .filter(|(_, logit)| **logit == 0.0)
        .map(|(id, _)| id)
        .collect();
    assert_eq!(allowed, [usize::from(b'{')]);
    for byte in br#"{"a": [1,{}]}"# {
        constrained.mask(&[0.0; 264]).unwrap();
        constrained.accept(u32::from(*byte)).unwrap();
    }
    assert!(constrained.is_finished());
}

#[test]
fn expressions_choices_and_pieces_are_kept() {
    let phone = regex::Regex::new(r"^1[3-9][0-9]{9}$").unwrap();
    for text in drawn(&Constraint::Regex(r"1[3-9]\d{9}".replace(r"\d", "[0-9]"))) {
        assert!(phone.is_match(&text), "{text}");
    }
    // What would be special in an expression or a grammar is not.
    let choices = ["是", "不是", "a|b", "x/y\\d\n\"q\" #", "[0-9]+"];
    for text in drawn(&Constraint::Choice(texts(&choices))) {
        assert!(choices.contains(&text.as_str()), "{text}");
    }
    let passages = ["信用卡年费\"80\"元。", "挂失费40元/卡。"];
    let pieces = drawn(&Constraint::Substring(texts(&passages)));
    for text in &pieces {
        assert!(
            !text.is_empty() && passages.iter().any(|passage| passage.contains(text.as_str())),
            "{text}"
        );
    }
    let longer = pieces.iter().filter(|text| text.chars().count() > 2).count();
    assert!(longer > 0, "{pieces:?}");
}

#[test]
fn calls_name_a_function_and_fit_its_schema() {
    let tool = |name: &str, parameters: Value| Tool {
        name: name.to_owned(),
        description: None,
        parameters,
        strict: true,
    };
    let form = |most| Constraint::ToolCalls {
        tools: vec![
            tool(
                "order_status",
                json!({"type": "object", "properties": {"id": {"type": "integer", "maximum": 99, "minimum": 1}},
                "required": ["id"], "additionalProperties": false}),
            ),
            tool(
                "hang_up",
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
            ),
        ],
        most,
    };
    let several = drawn(&form(2));
    assert!(
        several.iter().any(|text| text.matches("<tool_call>").count() == 2),
        "{several:?}"
    );
    let single = drawn(&form(1));
    assert!(
        single.iter().all(|text| text.matches("<tool_call>").count() == 1),
        "{single:?}"
    );
    for text in several.iter().chain(&single) {
        let calls: Vec<&str> = text.split_inclusive("</tool_call>").collect();
        assert!((1..=2).contains(&calls.len()), "{text}");
        for call in calls {
            let call = call.trim_start_matches('\n').strip_prefix("<tool_call>\n").unwrap();
            let call: Value = serde_json::from_str(call.strip_suffix("\n</tool_call>").unwrap()).unwrap();
            match call["name"].as_str().unwrap() {
                "order_status" => assert!((1..=99).contains(&call["arguments"]["id"].as_i64().unwrap())),
                "hang_up" => assert_eq!(call["arguments"], json!({})),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn logits_of_what_fits_are_left_as_they_are() {
    let mut constrained = constraints()
        .begin(&Constraint::Choice(texts(&["hello", "b"])))
        .unwrap();
    let logits: Vec<f32> = (0..270_u16).map(f32::from).collect();
    let masked = constrained.mask(&logits).unwrap();
    assert_eq!(masked.len(), logits.len());
    // `h`, `he`, `hell`, `hello` and `b`; logits beyond the vocabulary lead nowhere.
    let left: Vec<(usize, f32)> = (masked.iter().copied().enumerate())
        .filter(|(_, logit)| logit.is_finite())
        .collect();
    assert_eq!(
        left,
        [(98, 98.0), (104, 104.0), (256, 256.0), (258, 258.0), (259, 259.0)]
    );
    assert!(constrained.accept(u32::from(b'x')).is_err());
}

#[test]
fn the_end_may_come_where_the_form_is_complete() {
    let mut constrained = constraints().begin(&Constraint::Regex("a+".to_owned())).unwrap();
    let end = |logits: &[f32]| logits[END as usize].is_finite();
    assert!(!end(constrained.mask(&[0.0; 264]).unwrap()));
    constrained.accept(u32::from(b'a')).unwrap();
    assert!(end(constrained.mask(&[0.0; 264]).unwrap()) && !constrained.is_finished());
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let schema = |schema: Value| Constraint::JsonSchema(schema);
    let big = "x".repeat(MAX_CONSTRAINT_BYTES + 1);
    let tools = |parameters: Value| Constraint::ToolCalls {
        tools: vec![Tool {
            name: "f".to_owned(),
            description: None,
            parameters,
            strict: true,
        }],
        most: 1,
    };
    for (form, name) in [
        (schema(json!({"type": "nonsense"})), "response_format"),
        (schema(json!([])), "response_format"),
        (schema(json!({"type": "string", "pattern": "("})), "response_format"),
        (schema(json!({"$ref": "https://example.org/schema"})), "response_format"),
        (schema(json!({"not": {"type": "string"}})), "response_format"),
        (
            schema(json!({"description": big.clone(), "type": "string"})),
            "response_format",
        ),
        (Constraint::Regex("(".to_owned()), "constraint"),
        (Constraint::Regex(String::new()), "constraint"),
        (Constraint::Regex(big.clone()), "constraint"),
        (Constraint::Choice(Vec::new()), "constraint"),
        (Constraint::Choice(texts(&["a", ""])), "constraint"),
        (Constraint::Substring(Vec::new()), "constraint"),
        (Constraint::Substring(vec![big]), "constraint"),
        (tools(json!(3)), "tools"),
        (tools(json!({"type": "nonsense"})), "tools"),
        (
            Constraint::ToolCalls {
                tools: Vec::new(),
                most: 1,
            },
            "tools",
        ),
    ] {
        let (found, detail) = refusal(&form);
        assert_eq!(found, name, "{detail}");
        assert!(!detail.is_empty() && detail.lines().count() == 1, "{detail}");
    }
    let lenient = json!({"type": "object", "x-guidance": {"lenient": true}, "not": {"type": "string"}});
    assert!(constraints().begin(&schema(lenient)).is_ok());
}
