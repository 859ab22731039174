//! Chats as the model was trained to read them: the file's own Jinja template, rendered so that what people wrote never
//! touches what steers the model.
//!
//! The template is rendered with a placeholder for the text of every message. What comes out is cut at the placeholders:
//! the parts between them are the template's, the messages are put back as [`Piece::Content`], and the tokenizer encodes
//! both kinds apart. A control token that a customer types therefore stays text.

mod tools;

use super::tokenizer::Piece;
use super::{ChatMessage, ChatRole, InferenceError, Tool};
use crate::domain::Language;
use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;

/// Used by files without a template: ChatML, which most open models read.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + \
                      '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Our own instructions where a request gives none: templates such as Qwen2.5's would put theirs, in English.
const SYSTEM_ZH: &str = "你是公司的客服助手。请如实、简洁地用中文回答。";
const SYSTEM_EN: &str = "You are a company's customer service assistant. Answer truthfully and briefly, in English.";

/// One character stands for the text of one message: the first of Unicode's plane 16, which is for private use. People's
/// text loses such characters, so that none can pass for a placeholder.
const PLACEHOLDERS: RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';

/// Instructions of the template engine for one prompt: a few hundred thousand times what a chat of this size needs,
/// and still well under a second.
const FUEL: u64 = 2_000_000;
/// Bytes a rendered template may have without the messages themselves.
const MAX_RENDERED_BYTES: usize = 4 << 20;

/// A model's chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    /// Whether it says what to do with functions.
    knows_tools: bool,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChatTemplate")
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Compiles `source`, or ChatML if the file has none. `bos` and `eos` are what the template calls `bos_token` and
    /// `eos_token`.
    ///
    /// # Errors
    /// [`InferenceError::Template`] if it is no template, or uses characters kept for placeholders.
    pub fn new(source: Option<&str>, bos: &str, eos: &str) -> Result<Self, InferenceError> {
        let source = source.unwrap_or(CHATML);
        if source.contains(is_placeholder) {
            return Err(InferenceError::Template(
                "the template uses characters of Unicode's plane 16".to_owned(),
            ));
        }
        let mut environment = Environment::new();
        // As Hugging Face's `apply_chat_template` sets Jinja up, for which these templates are written.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| fault(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tools::tojson);
        environment.add_function("raise_exception", |text: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
        });
        environment
            .add_template_owned("chat", source.to_owned())
            .map_err(|error| fault(&error))?;
        Ok(Self {
            environment,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            knows_tools: source.contains("tools"),
        })
    }

    /// The prompt for the model's next turn, with `tools` as functions that it may ask for. If `messages` begin without instructions, our own are put before them. A
    /// template that knows no instructions gets them at the head of the first message of the user; one that knows no
    /// functions gets them as part of the instructions. `now` is what a template that asks for the date is told.
    ///
    /// # Errors
    /// [`InferenceError::Template`] if the template refuses the messages or runs too long;
    /// [`InferenceError::BadParameter`] if there are none.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        tools: &[Tool],
        now: Timestamp,
    ) -> Result<Vec<Piece>, InferenceError> {
        let Some(first) = messages.first() else {
            return Err(InferenceError::BadParameter {
                name: "messages",
                detail: "give at least one".to_owned(),
            });
        };
        let mut messages = messages.to_vec();
        if first.role != ChatRole::System {
            messages.insert(0, ChatMessage::new(ChatRole::System, instructions(&messages)));
        }
        let tools = if self.knows_tools {
            tools
        } else {
            messages = tools::in_words(&messages, tools);
            &[]
        };
        self.render_exactly(&messages, tools, true, now)
            .or_else(|refusal| match fold_instructions(&messages) {
                Some(folded) => self.render_exactly(&folded, tools, true, now).map_err(|_| refusal),
                None => Err(refusal),
            })
    }

    /// Renders `messages` as they are.
    fn render_exactly(
        &self,
        messages: &[ChatMessage],
        tools: &[Tool],
        add_generation_prompt: bool,
        now: Timestamp,
    ) -> Result<Vec<Piece>, InferenceError> {
        let mut contents = Vec::new();
        let mut values = Vec::with_capacity(messages.len());
        for message in messages {
            let content = placeholder(&message.content, &mut contents)?;
            let role = message.role.name();
            values.push(if message.tool_calls.is_empty() {
                context! { role, content }
            } else {
                context! { role, content, tool_calls => tools::of_calls(&message.tool_calls, &mut contents)? }
            });
        }
        // Templates ask whether there are any: an empty list is not defined for some.
        let tools = if tools.is_empty() {
            Value::UNDEFINED
        } else {
            tools::of_tools(tools, &mut contents)?
        };
        let strftime_now = move |format: String| {
            jiff::fmt::strtime::format(&format, now)
                .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
        };
        let context = context! {
            messages => values,
            tools,
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            // Qwen3 thinks aloud for hundreds of tokens unless told not to.
            enable_thinking => false,
            strftime_now => Value::from_function(strftime_now),
        };
        let mut output = Limited(Vec::new());
        let template = self.environment.get_template("chat").map_err(|error| fault(&error))?;
        template
            .render_captured_to(context, &mut output)
            .map_err(|error| fault(&error))?;
        let text = String::from_utf8(output.0).map_err(|error| InferenceError::Template(error.to_string()))?;
        Ok(pieces(&text, &contents))
    }
}

fn fault(error: &minijinja::Error) -> InferenceError {
    InferenceError::Template(format!("{error:#}"))
}

/// Our own instructions in the language of the last message.
fn instructions(messages: &[ChatMessage]) -> &'static str {
    match messages.last().map(|message| Language::detect(&message.content)) {
        Some(Language::Zh) => SYSTEM_ZH,
        _ => SYSTEM_EN,
    }
}

/// The same chat with the instructions at the head of the first message of the user; `None` if there is no such pair.
fn fold_instructions(messages: &[ChatMessage]) -> Option<Vec<ChatMessage>> {
    let (system, rest) = messages
        .split_first()
        .filter(|(first, _)| first.role == ChatRole::System)?;
    let mut folded = rest.to_vec();
    let user = folded.iter_mut().find(|message| message.role == ChatRole::User)?;
    user.content = format!("{}\n\n{}", system.content, user.content);
    Some(folded)
}

fn is_placeholder(character: char) -> bool {
    PLACEHOLDERS.contains(&character)
}

/// What the template sees of `content`: blank space at both ends as it is, so that a template may trim it, and a
/// placeholder for the rest, which joins `contents`.
fn placeholder(content: &str, contents: &mut Vec<String>) -> Result<String, InferenceError> {
    let content = content.replace(is_placeholder, "");
    let core = content.trim();
    if core.is_empty() {
        return Ok(content);
    }
    let character = PLACEHOLDERS
        .clone()
        .nth(contents.len())
        .ok_or_else(|| InferenceError::BadParameter {
            name: "messages",
            detail: "there are too many".to_owned(),
        })?;
    contents.push(core.to_owned());
    let before = &content[..content.len() - content.trim_start().len()];
    let after = &content[content.trim_end().len()..];
    Ok(format!("{before}{character}{after}"))
}

/// Puts the messages' texts back for their placeholders.
fn pieces(text: &str, contents: &[String]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in text.split_inclusive(is_placeholder) {
        let last = part.chars().next_back().filter(|&character| is_placeholder(character));
        let template = &part[..part.len() - last.map_or(0, char::len_utf8)];
        if !template.is_empty() {
            pieces.push(Piece::Template(template.to_owned()));
        }
        let number = last.map(|character| u32::from(character) - u32::from(*PLACEHOLDERS.start()));
        if let Some(content) = number.and_then(|number| contents.get(number as usize)) {
            pieces.push(Piece::Content(content.clone()));
        }
    }
    pieces
}

/// A buffer that refuses to grow past [`MAX_RENDERED_BYTES`].
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RENDERED_BYTES {
            return Err(io::Error::other("the template writes too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
