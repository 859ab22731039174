use super::{Piece, Tokenizer, Vocabulary, byte_level};

/// A byte-level vocabulary: 256 bytes, a few merges and control tokens of a chat model.
pub(crate) fn small_vocabulary() -> Vocabulary {
    let mut tokens: Vec<String> = (0..=u8::MAX)
        .map(|byte| byte_level::character(byte).to_string())
        .collect();
    let mut types = vec![1; 256];
    for merged in ["he", "ll", "hell", "hello"] {
        tokens.push(merged.to_owned());
        types.push(1);
    }
    for control in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] {
        tokens.push(control.to_owned());
        types.push(3);
    }
    tokens.push("<tool_call>".to_owned());
    types.push(4);
    Vocabulary {
        model: "gpt2".to_owned(),
        pre: "qwen2".to_owned(),
        tokens,
        types,
        merges: ["h e", "l l", "he ll", "hell o"].map(str::to_owned).to_vec(),
        bos: Some(260),
        eos: Some(262),
        ..Vocabulary::default()
    }
}

/// A tokenizer of [`small_vocabulary`]: 260 `<|endoftext|>`, 261 `<|im_start|>`, 262 `<|im_end|>`, 263 `<tool_call>`.
pub(crate) fn small() -> Tokenizer {
    Tokenizer::new(small_vocabulary()).unwrap()
}

#[test]
fn text_is_merged_and_read_back() {
    let tokenizer = small();
    let ids = tokenizer.encode_text("hello, 你好👋").unwrap();
    assert_eq!(ids[0], 259);
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.token_bytes(id).to_vec()).collect();
    assert_eq!(bytes, "hello, 你好👋".as_bytes());
    assert_eq!(tokenizer.token_bytes(99_999), b"");
}

#[test]
fn typed_control_tokens_stay_text() {
    let tokenizer = small();
    let typed = tokenizer.encode_text("a<|im_end|>b").unwrap();
    assert!(typed.iter().all(|&id| !tokenizer.is_control(id)), "{typed:?}");
    assert_eq!(tokenizer.encode_template("a<|im_end|>").unwrap(), [97, 262]);
    // User-defined tokens are text of their own and are always one token.
    assert_eq!(tokenizer.encode_text("<tool_call>").unwrap(), [263]);
}

#[test]
fn pieces_are_encoded_apart() {
    let pieces = [
        Piece::Template("<|im_start|>".to_owned()),
        Piece::Content("<|im_".to_owned()),
        Piece::Content("end|>".to_owned()),
        Piece::Template("<|im_end|>".to_owned()),
    ];
    let ids = small().encode_prompt(&pieces).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id >= 260).collect::<Vec<_>>(), [&261, &262]);
}

#[test]
fn the_beginning_is_marked_once_where_the_model_wants_it() {
    let tokenizer = Tokenizer::new(Vocabulary {
        add_bos: true,
        ..small_vocabulary()
    })
    .unwrap();
    let plain = tokenizer.encode_prompt(&[Piece::Content("a".to_owned())]).unwrap();
    let marked = tokenizer
        .encode_prompt(&[Piece::Template("<|endoftext|>a".to_owned())])
        .unwrap();
    assert_eq!(plain, [260, 97]);
    assert_eq!(marked, plain);
}

#[test]
fn end_tokens_are_found_by_id_and_by_name() {
    assert_eq!(small().end_tokens(), [260, 262]);
    let eot = Tokenizer::new(Vocabulary {
        eot: Some(97),
        ..small_vocabulary()
    })
    .unwrap();
    assert!(eot.is_end(97) && !eot.is_end(98));
}

#[test]
fn contradictory_tables_are_refused() {
    let broken = [
        Vocabulary {
            tokens: Vec::new(),
            ..small_vocabulary()
        },
        Vocabulary {
            types: vec![1],
            ..small_vocabulary()
        },
        Vocabulary {
            eos: Some(9999),
            ..small_vocabulary()
        },
        Vocabulary {
            merges: vec!["nospace".to_owned()],
            ..small_vocabulary()
        },
        Vocabulary {
            merges: vec!["h zebra".to_owned()],
            ..small_vocabulary()
        },
        Vocabulary {
            model: "bert".to_owned(),
            ..small_vocabulary()
        },
        Vocabulary {
            model: "llama".to_owned(),
            ..small_vocabulary()
        },
        Vocabulary {
            pre: "martian".to_owned(),
            ..small_vocabulary()
        },
    ];
    for vocabulary in broken {
        let fault = Tokenizer::new(vocabulary).unwrap_err().to_string();
        assert!(fault.starts_with("tokenizer: "), "{fault}");
    }
}

#[test]
fn sentencepiece_models_may_want_a_space_before_text() {
    let vocabulary = Vocabulary {
        model: "llama".to_owned(),
        tokens: ["<s>", "▁", "a", "▁a"].map(str::to_owned).to_vec(),
        types: vec![3, 1, 1, 1],
        scores: vec![0.0, -1.0, -1.0, -0.5],
        add_space_prefix: true,
        ..Vocabulary::default()
    };
    let tokenizer = Tokenizer::new(vocabulary).unwrap();
    assert_eq!(tokenizer.encode_text("a").unwrap(), [3]);
    let pieces = [
        Piece::Template("<s>".to_owned()),
        Piece::Content("a".to_owned()),
        Piece::Content("a".to_owned()),
    ];
    assert_eq!(tokenizer.encode_prompt(&pieces).unwrap(), [0, 3, 2]);
    assert_eq!(tokenizer.token_bytes(3), b" a");
}
