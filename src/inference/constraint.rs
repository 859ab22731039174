//! Answers of a given form: JSON of a schema, a regular expression, one of several texts, a piece of a text, calls of
//! functions.
//!
//! The library llguidance turns a form into a grammar over bytes and says before each token which ones keep the answer
//! within it; the sampler then chooses among those alone.
//! Source: <https://github.com/guidance-ai/llguidance>, `docs/syntax.md` and `docs/json_schema.md`.

use super::tokenizer::Tokenizer;
use super::{Constraint, InferenceError, Tool};
use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{
    INVALID_TOKEN, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv,
};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value, json};
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

/// The most bytes of a schema, an expression, or all texts of a constraint together: what compiles within a tenth of a
/// second.
pub const MAX_CONSTRAINT_BYTES: usize = 128 << 10;
/// The most texts to choose from, and the most functions.
pub const MAX_CHOICES: usize = 1024;
/// The most calls in one answer.
pub const MAX_CALLS: usize = 16;

/// Bytes of the longest token that the library takes (it keeps the depth in ten bits).
const LONGEST_TOKEN: usize = 1000;

/// What a grammar may cost. Fuel is the library's unit: 50,000 a millisecond when a grammar is built, 14,000 when a token
/// is looked for. A state takes one or two kilobytes.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2000,
    initial_lexer_fuel: 2_000_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    max_lexer_states: 50_000,
    max_grammar_size: 200_000,
    precompute_large_lexemes: false,
    verbose_errors: false,
};

/// Makes constraints over one model's tokens. What the library needs of the vocabulary is built at the first use.
pub struct Constraints {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl fmt::Debug for Constraints {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Constraints").finish_non_exhaustive()
    }
}

impl Constraints {
    /// Constraints over the tokens of `tokenizer`.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self {
            tokenizer,
            factory: OnceLock::new(),
        }
    }

    /// A constraint for one answer. Cost: some milliseconds, for the first answer of a model some tenths of a second; it
    /// blocks.
    ///
    /// # Errors
    /// [`InferenceError::BadParameter`] for a form that is wrong, not supported or too large, under the name that the API
    /// has for it: `response_format`, `tools`, or `constraint` for the others.
    pub fn begin(&self, constraint: &Constraint) -> Result<Constrained, InferenceError> {
        let name = parameter(constraint);
        let refuse = |detail: String| InferenceError::BadParameter { name, detail };
        let grammar = grammar(constraint).map_err(refuse)?;
        let factory = self
            .factory
            .get_or_init(|| factory(&self.tokenizer))
            .as_ref()
            .map_err(|detail| InferenceError::Tokenizer(detail.clone()))?;
        let parser = factory
            .create_parser(grammar)
            .map_err(|error| refuse(first_line(&format!("{error:#}"))))?;
        let mut constrained = Constrained {
            matcher: Matcher::new(Ok(parser)),
            first: None,
            name,
            // What is looked for in a text is there, so nothing at all is no piece of it.
            not_empty: matches!(constraint, Constraint::Substring(_)),
            end: self.tokenizer.end_tokens().to_vec(),
            logits: Vec::new(),
        };
        // The first tokens cost the most to find, and a form that none fits is told from one that works.
        constrained.first = Some(constrained.allowed()?);
        Ok(constrained)
    }
}

/// Where an answer stands within its form.
pub struct Constrained {
    matcher: Matcher,
    /// The tokens that an answer may begin with, until they are asked for.
    first: Option<SimpleVob>,
    name: &'static str,
    not_empty: bool,
    end: Vec<u32>,
    logits: Vec<f32>,
}

impl fmt::Debug for Constrained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Constrained")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl Constrained {
    /// `logits` with minus infinity for every token that leads out of the form; tokens that end the answer are left
    /// where it may end.
    ///
    /// # Errors
    /// [`InferenceError::BadParameter`] if no token is left, or the form turns out to be too complex.
    pub fn mask(&mut self, logits: &[f32]) -> Result<&[f32], InferenceError> {
        let mut allowed = match self.first.take() {
            Some(first) => first,
            None => self.allowed()?,
        };
        if self.not_empty {
            for &end in &self.end {
                allowed.disallow_token(end);
            }
        }
        self.logits.clear();
        self.logits.resize(logits.len(), f32::NEG_INFINITY);
        copy_allowed(&allowed, logits, &mut self.logits);
        Ok(&self.logits)
    }

    fn allowed(&mut self) -> Result<SimpleVob, InferenceError> {
        let allowed = self.matcher.compute_mask_or_eos();
        allowed.map_err(|error| self.refusal(&error))
    }

    /// Takes the token that was chosen, which must not be one that ends the answer.
    ///
    /// # Errors
    /// [`InferenceError::BadParameter`] for a token that leads out of the form.
    pub fn accept(&mut self, token: u32) -> Result<(), InferenceError> {
        self.not_empty = false;
        self.first = None;
        self.matcher.consume_token(token).map_err(|error| self.refusal(&error))
    }

    /// Whether the answer is complete and nothing can follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    fn refusal(&self, error: &impl fmt::Display) -> InferenceError {
        let detail = match self.matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => {
                "it is too complex to be followed; simplify it".to_owned()
            }
            _ => first_line(&error.to_string()),
        };
        InferenceError::BadParameter {
            name: self.name,
            detail,
        }
    }
}

/// Copies the logits of allowed tokens, a word of the set at a time.
fn copy_allowed(allowed: &SimpleVob, from: &[f32], to: &mut [f32]) {
    let words = allowed.as_slice().iter();
    for ((word, from), to) in words.zip(from.chunks(32)).zip(to.chunks_mut(32)) {
        match *word {
            0 => {}
            u32::MAX => to.copy_from_slice(from),
            word => {
                for (bit, (from, to)) in from.iter().zip(to).enumerate() {
                    if word >> bit & 1 == 1 {
                        *to = *from;
                    }
                }
            }
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the API calls the parameter that a constraint comes from.
fn parameter(constraint: &Constraint) -> &'static str {
    match constraint {
        Constraint::JsonObject | Constraint::JsonSchema(_) => "response_format",
        Constraint::ToolCalls { .. } => "tools",
        Constraint::Regex(_) | Constraint::Choice(_) | Constraint::Substring(_) => "constraint",
    }
}

/// The grammar of a constraint, or what is wrong with it.
fn grammar(constraint: &Constraint) -> Result<TopLevelGrammar, String> {
    match constraint {
        Constraint::JsonObject => json_grammar(&json!({"type": "object"})),
        Constraint::JsonSchema(schema) => json_grammar(schema),
        Constraint::Regex(expression) => {
            if expression.is_empty() {
                return Err("an expression must not be empty".to_owned());
            }
            check_size(expression.len())?;
            Ok(TopLevelGrammar::from_regex(expression))
        }
        Constraint::Choice(texts) => {
            check_texts(texts)?;
            let alternatives: Vec<String> = texts.iter().map(|text| regex::escape(text)).collect();
            Ok(TopLevelGrammar::from_regex(&format!("(?:{})", alternatives.join("|"))))
        }
        Constraint::Substring(texts) => {
            check_texts(texts)?;
            Ok(TopLevelGrammar::from_lark(substring_grammar(texts)))
        }
        Constraint::ToolCalls { tools, most } => {
            if tools.is_empty() || tools.len() > MAX_CHOICES || !(1..=MAX_CALLS).contains(most) {
                return Err(format!(
                    "give 1 to {MAX_CHOICES} functions, and 1 to {MAX_CALLS} calls of them"
                ));
            }
            let text = calls_grammar(tools, *most)?;
            check_size(text.len())?;
            Ok(TopLevelGrammar::from_lark(text))
        }
    }
}

fn json_grammar(schema: &Value) -> Result<TopLevelGrammar, String> {
    let schema = json_schema(schema)?;
    check_size(schema.to_string().len())?;
    Ok(TopLevelGrammar::from_json_schema(schema))
}

fn check_size(bytes: usize) -> Result<(), String> {
    if bytes > MAX_CONSTRAINT_BYTES {
        return Err(format!(
            "it has {bytes} bytes; at most {MAX_CONSTRAINT_BYTES} can be followed"
        ));
    }
    Ok(())
}

fn check_texts(texts: &[String]) -> Result<(), String> {
    if texts.is_empty() || texts.len() > MAX_CHOICES || texts.iter().any(String::is_empty) {
        return Err(format!("give 1 to {MAX_CHOICES} texts, and no empty one"));
    }
    check_size(texts.iter().map(String::len).sum())
}

/// The schema with what it says about the library put in our own terms. Free blank space would let a small model write
/// nothing else, so that there is one blank at most.
fn json_schema(schema: &Value) -> Result<Value, String> {
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        Value::Bool(true) => Map::new(),
        _ => return Err("a schema must be a JSON object".to_owned()),
    };
    let lenient = schema
        .get("x-guidance")
        .is_some_and(|options| options["lenient"] == Value::Bool(true));
    schema.insert(
        "x-guidance".to_owned(),
        json!({
            "whitespace_flexible": false,
            "item_separator": ",[ ]?",
            "key_separator": ":[ ]?",
            "lenient": lenient,
        }),
    );
    Ok(Value::Object(schema))
}

/// Each text becomes an automaton of its pieces, with a character as the smallest.
fn substring_grammar(texts: &[String]) -> String {
    let names: Vec<String> = (0..texts.len()).map(|number| format!("T{number}")).collect();
    let mut grammar = format!("start: {}\n", names.join(" | "));
    for (name, text) in names.iter().zip(texts) {
        // Writing to a string cannot fail.
        let _ = writeln!(grammar, "{name}: %regex {}", json!({"substring_chars": text}));
    }
    grammar
}

fn calls_grammar(tools: &[Tool], most: usize) -> Result<String, String> {
    let names: Vec<String> = (0..tools.len()).map(|number| format!("call{number}")).collect();
    let more = match most {
        1 => String::new(),
        most => format!(" (\"\\n\" call){{0,{}}}", most - 1),
    };
    let mut grammar = format!("start: call{more}\ncall: {}\n", names.join(" | "));
    for (name, tool) in names.iter().zip(tools) {
        let function = Value::String(tool.name.clone());
        let before = Value::String(format!("<tool_call>\n{{\"name\": {function}, \"arguments\": "));
        let mut parameters = tool.parameters.clone();
        if !tool.strict
            && let Value::Object(schema) = &mut parameters
        {
            schema.insert("x-guidance".to_owned(), json!({"lenient": true}));
        }
        let arguments = json_schema(&parameters).map_err(|fault| format!("{function}: {fault}"))?;
        let _ = writeln!(
            grammar,
            "{name}: {before} arguments{name} \"}}\\n</tool_call>\"\narguments{name}: %json {arguments}"
        );
    }
    Ok(grammar)
}

/// The model's vocabulary, as the library needs it.
struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
    /// Whether what must follow may be cut into tokens as the model is used to.
    canonical: bool,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            (self.tokenizer.encode_text(text)).unwrap_or_else(|_| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

fn factory(tokenizer: &Arc<Tokenizer>) -> Result<ParserFactory, String> {
    let count = u32::try_from(tokenizer.len()).map_err(|_| "the vocabulary is too large".to_owned())?;
    let words: Vec<Vec<u8>> = (0..count).map(|token| spelling(tokenizer, token)).collect();
    let end = tokenizer.end_tokens();
    let info = TokRxInfo::new(count, end.first().copied().unwrap_or(INVALID_TOKEN));
    let mut trie = TokTrie::from(&info, &words);
    if !end.is_empty() {
        trie = trie.with_eos_tokens(end);
    }
    // Where a byte has no token, or text gets a blank before it, forced text would be spelled wrong.
    let canonical = tokenizer.is_byte_level() && (0..=u8::MAX).all(|byte| trie.token_id(&[byte]).is_some());
    let environment: TokEnv = Arc::new(Vocabulary {
        trie,
        tokenizer: Arc::clone(tokenizer),
        canonical,
    });
    let mut factory = ParserFactory::new(
        &environment,
        InferenceCapabilities::default(),
        &SlicedBiasComputer::general_slices(),
    )
    .map_err(|error| error.to_string())?;
    *factory.limits_mut() = LIMITS;
    factory.quiet();
    Ok(factory)
}

/// The bytes of a token; none for those that are no text, which therefore never fit a form.
fn spelling(tokenizer: &Tokenizer, token: u32) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(token);
    if tokenizer.is_control(token) || bytes.len() > LONGEST_TOKEN {
        return Vec::new();
    }
    bytes.to_vec()
}

#[cfg(test)]
mod tests;
