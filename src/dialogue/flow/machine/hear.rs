//! What a message means to a flow: a command, a correction, values, a question about something else.

use super::super::definition::{Check, Rule, Slot, SlotKind};
use super::super::slots::{self, Heard, Reading, Unclear, Value, read, yes_no};
use super::{Effect, End, Phase, Turn, wording};
use crate::domain::{Language, is_han};
use crate::understanding::smalltalk;
use jiff::civil::DateTime;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

macro_rules! pattern {
    ($name:ident, $source:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($source).expect("a fixed pattern"));
    };
}

pattern!(
    CANCEL,
    r"^(?:那|嗯|额|哎|唉|好吧|请|麻烦|我想?|我要|还是|帮我|先|就|ok|okay|please|no|sorry|actually|well|[,，。 ])*(?:取消(?:办理|预约|操作|流程|这个|掉)?|算了|退出|结束吧?|停止|不弄了|cancel(?-u:\b)|never ?mind|forget (?:it|about it)|stop(?-u:\b)|quit(?-u:\b)|exit(?-u:\b)|abort(?-u:\b)|i(?:'ve| have)? changed my mind)"
);
pattern!(
    NO_MORE,
    r"^(?:那|嗯|额|哎|唉|我|还是|先|就|暂时|[,，。 ])*(?:不|不想|不用|先不)(?P<verb>办|弄|查|约|挂|搞|装|预约|挂失|查询|安装|办理)了?(?:[,，。!吧]|$)"
);
pattern!(
    REPEAT,
    r"再说一[遍次]|重复一[遍下次]|没听清|没看清|没听懂|刚才说什么|刚刚说什么|再讲一遍|(?-u:\b)repeat(?-u:\b)|(?-u:\b)say (?:that|it) again(?-u:\b)|(?-u:\b)pardon(?-u:\b)|(?-u:\b)come again(?-u:\b)|what did you say"
);
pattern!(
    BACK,
    r"上一步|上一个问题|回到上一|返回上|后退|退回去|^返回$|(?-u:\b)go back(?-u:\b)|(?-u:\b)previous (?:step|question)(?-u:\b)|^back$"
);
pattern!(
    SKIP,
    r"^(?:那|就|先|我|这个|这|please |i |[,， ])*(?:跳过|略过|不填|不提供|不想说|不记得|记不得|记不清|不知道|不清楚|不晓得|忘了|忘记了|想不起来|没有|没了|没啥|没什么|无$|none(?-u:\b)|skip(?-u:\b)|pass(?-u:\b)|nothing(?-u:\b)|don'?t (?:know|remember|have)|not sure|no idea|forgot)"
);
pattern!(SKIP_WORD, r"跳过|略过|不填|(?-u:\b)skip(?-u:\b)");
pattern!(
    RESEND,
    r"重新发|再发|重发|没收到|收不到|没有收到|还没来|(?-u:\b)resend(?-u:\b)|send (?:it |me )?(?:again|another)|new code|didn'?t (?:get|receive)|not received|haven'?t (?:got|received)"
);
pattern!(
    QUESTION,
    r"[?？]|(?:吗|呢|么)[!。.~～]*$|怎么|什么|为何|为啥|多少|几点|几天|多久|多长|哪里|哪儿|在哪|能不能|可不可以|是不是|要不要|有没有|会不会|行不行|如何|是否|啥|^(?:what|when|where|why|how|who|which|can|could|do|does|did|is|are|will|would|should|may)(?-u:\b)"
);
pattern!(
    CHANGE,
    r"(?:改成|改为|改到|改在|换成|换到|换为|更正为|变更为|调到|挪到|(?:^|[,，。])改(?:一下)?[:：]?|应该是|其实是|(?-u:\b)change .{0,40}?(?-u:\b)to(?-u:\b)|(?-u:\b)make (?:it|that)(?-u:\b)|(?-u:\b)instead of(?-u:\b)|(?-u:\b)should be(?-u:\b))"
);
pattern!(
    MARKER,
    r"不对|错了|弄错|写错|说错|打错|搞错|输错|填错|更正|纠正|不是|少打|多打|漏了一位|(?-u:\b)wrong(?-u:\b)|(?-u:\b)actually(?-u:\b)|(?-u:\b)i mean[t]?(?-u:\b)|(?-u:\b)correction(?-u:\b)|(?-u:\b)sorry(?-u:\b)|(?-u:\b)mistake(?-u:\b)|^no[,，. ]|(?-u:\b)not(?-u:\b)|(?-u:\b)rather(?-u:\b)"
);
pattern!(
    REJECTED,
    r"(?:不是|不要|并非|除了|别选?|(?-u:\b)not(?: on| at)?(?-u:\b)|(?-u:\b)instead of(?-u:\b)|(?-u:\b)rather than(?-u:\b))\s*(?P<x>[^,，。;；!?？是而要]{1,30})"
);
pattern!(
    UNFIT,
    r"(?P<x>[^,，。;；!?？]{1,20}?)(?:不行|不可以|没空|没时间|不方便|不合适|去不了|doesn'?t work|won'?t work|is not good|is no good|does not work)"
);
pattern!(
    BUT,
    r"但是|不过|可是|先别|等一下|等等|等会|慢着|(?-u:\b)but(?-u:\b)|(?-u:\b)except(?-u:\b)|(?-u:\b)wait(?-u:\b)|(?-u:\b)hold on(?-u:\b)|(?-u:\b)not(?-u:\b)|(?-u:\b)however(?-u:\b)"
);
pattern!(
    NEAR_DIGITS,
    r"尾号|后四位|末四位|后4位|末4位|后面四位|last (?:four|4)|ending|digits"
);

/// Letters that a message needs to tell its language.
const TELLING: usize = 3;

/// The language of a message that is long enough to tell.
pub(super) fn language(message: &str) -> Option<Language> {
    if message.chars().filter(|c| is_han(*c)).count() >= 2 {
        return Some(Language::Zh);
    }
    let words = message
        .split_whitespace()
        .filter(|word| word.chars().all(|c| c.is_ascii_alphabetic() || "'.,!?".contains(c)))
        .count();
    (words >= TELLING && !message.chars().any(is_han)).then_some(Language::En)
}

fn is_question(text: &str) -> bool {
    QUESTION.is_match(text)
}

/// A greeting, thanks and the like, and no yes.
fn is_beside(heard: &Heard) -> bool {
    smalltalk(&heard.text).is_some() && yes_no(&heard.folded).is_none()
}

/// What was found in a message.
#[derive(Debug, Default)]
struct Found {
    /// Slots by index with their values.
    values: Vec<(usize, Value)>,
    /// Slots of which half was said.
    halves: Vec<(usize, Value)>,
    /// A slot with what cannot be taken.
    unclear: Option<(usize, Unclear)>,
    /// Places that were read.
    places: Vec<Range<usize>>,
}

/// How a message corrects.
struct Correction {
    /// The message without what is rejected.
    rest: Heard,
    /// The slot that it names.
    target: Option<usize>,
    /// Whether it says that something was wrong.
    marked: bool,
}

impl Turn<'_> {
    /// The values in the message that begins the flow.
    pub(super) fn take_first(&mut self, heard: &Heard) {
        let order: Vec<(usize, bool)> = (0..self.flow.slots.len()).map(|index| (index, false)).collect();
        let found = self.extract(heard, &order);
        for (index, value) in found.values {
            if self.fault_of(&self.flow.slots[index], &value).is_none() {
                self.state.slots.insert(self.flow.slots[index].name.clone(), value);
            }
        }
        for (index, half) in found.halves {
            self.state.halves.insert(self.flow.slots[index].name.clone(), half);
        }
    }

    /// A message of the customer.
    pub(super) fn user(&mut self, heard: &Heard) {
        match self.state.phase.clone() {
            Phase::Begun => {
                self.take_first(heard);
                self.advance();
            }
            Phase::Asking { slot } => match self.flow.slots.iter().position(|known| known.name == slot) {
                Some(index) if self.flow.slots[index].kind == SlotKind::OneTimeCode => self.hear_code(index, heard),
                Some(index) => self.hear_answer(index, heard),
                None => self.advance(),
            },
            Phase::Confirming { action } => self.hear_confirmation(&action, heard),
            Phase::Changing { action } => self.hear_change(&action, heard),
            // A call that never came back, or failed: it is made again, with the same key.
            Phase::Calling { call } | Phase::Retrying { call } => {
                if self.cancels(heard, None) || yes_no(&heard.folded) == Some(false) {
                    self.cancel();
                } else {
                    self.call_again(&call);
                }
            }
            Phase::Ended { .. } => {}
        }
    }

    fn hear_answer(&mut self, index: usize, heard: &Heard) {
        let slot = &self.flow.slots[index];
        if self.command(heard, Some(slot)) {
            return;
        }
        let correction = self.correction(heard);
        let skips = slot.optional
            && (SKIP.is_match(&heard.folded)
                || (slot.kind != SlotKind::YesNo
                    && yes_no(&heard.folded) == Some(false)
                    && heard.folded.chars().count() <= 12))
            && !correction.marked;
        let found = self.extract(&correction.rest, &self.order(index, &correction));
        // Free words take everything: "没有" is none of them.
        let nothing = slot.kind == SlotKind::Text && heard.folded.chars().count() <= 12;
        if skips && (nothing || (found.values.is_empty() && found.halves.is_empty())) {
            self.state.skipped.insert(slot.name.clone());
            self.state.failures = 0;
            return self.advance();
        }
        if found.values.is_empty() && found.halves.is_empty() {
            if SKIP_WORD.is_match(&heard.folded) && !is_question(&heard.folded) {
                return self.ask_again(wording::needed(
                    self.state.language,
                    slot.label.get(self.state.language),
                ));
            }
            if let Some((index, unclear)) = found.unclear {
                return self.say_unclear(index, unclear);
            }
            if is_question(&heard.folded) || is_beside(heard) {
                return self.digress(heard.text.clone());
            }
            if let Some(target) = correction.target.filter(|target| *target != index) {
                return self.ask_for(target);
            }
            return self.ask_again(self.explain(slot));
        }
        self.take(found, heard);
    }

    /// The order in which slots are tried, and whether each counts as asked.
    fn order(&self, asked: usize, correction: &Correction) -> Vec<(usize, bool)> {
        let slots = &self.flow.slots;
        if let Some(target) = correction.target {
            return vec![(target, true)];
        }
        let filled = |index: &usize| self.state.slots.contains_key(&slots[*index].name);
        let mut order = Vec::new();
        if correction.marked && self.state.failures == 0 {
            // "不对，是周四": what was said last is meant rather than what is asked.
            let recent = self
                .state
                .asked
                .iter()
                .rev()
                .filter_map(|name| slots.iter().position(|slot| slot.name == *name));
            let all: Vec<usize> = recent
                .chain((0..slots.len()).rev())
                .filter(|index| *index != asked)
                .filter(filled)
                .collect();
            order.extend(
                all.into_iter()
                    .filter(|index| !matches!(slots[*index].kind, SlotKind::Text | SlotKind::YesNo | SlotKind::Number))
                    .map(|index| (index, false)),
            );
        }
        order.push((asked, true));
        if slots[asked].kind != SlotKind::Text {
            order.extend(
                (0..slots.len())
                    .filter(|index| !filled(index))
                    .map(|index| (index, false)),
            );
            order.extend((0..slots.len()).filter(filled).map(|index| (index, false)));
        }
        let mut seen = Vec::new();
        order.retain(|(index, _)| {
            !seen.contains(index) && {
                seen.push(*index);
                true
            }
        });
        order
    }

    /// Reads slots out of a message, in this order; no place is read twice.
    fn extract(&self, heard: &Heard, order: &[(usize, bool)]) -> Found {
        let mut found = Found::default();
        let mut rest = heard.clone();
        let today = self.now.date();
        for &(index, asked) in order {
            let slot = &self.flow.slots[index];
            let none = Vec::new();
            let choices = self.state.options.get(&slot.name).unwrap_or(&none);
            let Some(wanted) = slot.wanted(choices) else { continue };
            if asked && slot.kind == SlotKind::Text && is_question(&heard.folded) {
                continue;
            }
            let at_start = asked || self.state.asking() == Some(slot.name.as_str());
            match read(wanted, &rest, today, at_start) {
                Reading::Value(place, value) => {
                    if !at_start && !stands_for_itself(slot, &value, &rest.folded, &place) {
                        continue;
                    }
                    rest = rest.without(std::slice::from_ref(&place));
                    found.places.push(place);
                    found.values.push((index, value));
                }
                Reading::Half(place, value) => {
                    rest = rest.without(std::slice::from_ref(&place));
                    found.places.push(place);
                    match (self.state.halves.get(&slot.name), &value) {
                        (Some(Value::Time(time)), Value::Date(date)) | (Some(Value::Date(date)), Value::Time(time)) => {
                            found.values.push((index, Value::Datetime(date.to_datetime(*time))));
                        }
                        _ => match (self.state.slots.get(&slot.name), &value) {
                            // "改成周四": the time stays.
                            (Some(Value::Datetime(moment)), Value::Date(date)) => found
                                .values
                                .push((index, Value::Datetime(date.to_datetime(moment.time())))),
                            (Some(Value::Datetime(moment)), Value::Time(time)) => found
                                .values
                                .push((index, Value::Datetime(moment.date().to_datetime(*time)))),
                            _ => found.halves.push((index, value)),
                        },
                    }
                }
                Reading::Unclear(_, unclear) if at_start => found.unclear = Some((index, unclear)),
                Reading::Unclear(..) | Reading::Nothing => {}
            }
        }
        found
    }

    /// Takes what was found, and goes on.
    fn take(&mut self, found: Found, heard: &Heard) {
        let mut changed = false;
        for (index, value) in found.values {
            let slot = &self.flow.slots[index];
            let language = self.state.language;
            if let Some(fault) = self.fault_of(slot, &value) {
                // A wrong value for a slot that was filled leaves it open: it is asked again.
                if self.forget(index) {
                    self.state.phase = Phase::Asking {
                        slot: slot.name.clone(),
                    };
                    return self.ask_again(fault);
                }
                return;
            }
            let before = self.state.slots.get(&slot.name);
            if before == Some(&value) {
                continue;
            }
            if before.is_some() {
                let shown = value.shown(language);
                let label = slot.label.get(language).to_owned();
                if !self.forget(index) {
                    return;
                }
                self.say(wording::changed(language, &label, &shown));
            }
            changed = true;
            self.state.halves.remove(&slot.name);
            self.state.skipped.remove(&slot.name);
            self.state.slots.insert(slot.name.clone(), value);
        }
        for (index, half) in found.halves {
            let slot = &self.flow.slots[index];
            let time_missing = matches!(half, Value::Date(_));
            self.state.halves.insert(slot.name.clone(), half);
            if self.state.asking() == Some(slot.name.as_str()) && !changed {
                self.effects.push(Effect::AskAgain {
                    text: wording::other_half(self.state.language, time_missing),
                });
                return;
            }
        }
        if changed {
            self.state.failures = 0;
        }
        if let Some(question) = aside(heard, &found.places) {
            self.effects.push(Effect::Digress { question });
        }
        self.advance();
    }

    /// Empties a slot, with what depends on it. Refuses, with words, where something was done with it.
    fn forget(&mut self, index: usize) -> bool {
        let slot = &self.flow.slots[index];
        let used = self.flow.actions.iter().any(|action| {
            action.changes
                && self.state.done.contains_key(&action.name)
                && action
                    .args
                    .values()
                    .filter_map(serde_json::Value::as_str)
                    .any(|template| super::super::text::names(template).any(|name| name == slot.name))
        });
        if used {
            self.say(wording::too_late(
                self.state.language,
                slot.label.get(self.state.language),
            ));
            return false;
        }
        self.state.slots.remove(&slot.name);
        self.state.confirmed = None;
        true
    }

    /// Asks for a slot again that was filled.
    fn ask_for(&mut self, index: usize) {
        if self.forget(index) {
            self.state.skipped.remove(&self.flow.slots[index].name);
            self.state.failures = 0;
            self.ask_slot(index);
        }
    }

    /// What is wrong with a value, in words.
    fn fault_of(&self, slot: &Slot, value: &Value) -> Option<String> {
        let failed = slot.checks.iter().find(|check| !holds(check, value, self.now));
        if let Some(check) = failed {
            return Some(wording::check_failed(self.state.language, slot, check));
        }
        match value {
            Value::Text(text) if text.chars().count() > slot.max_chars() => Some(wording::too_long(
                self.state.language,
                slot.label.get(self.state.language),
                slot.max_chars(),
            )),
            _ => None,
        }
    }

    fn explain(&self, slot: &Slot) -> String {
        let text = wording::not_understood(self.state.language, slot);
        match self.options_text(slot) {
            options if options.is_empty() || slot.kind != SlotKind::Choice => text,
            options => format!("{text}\n{options}"),
        }
    }

    fn say_unclear(&mut self, index: usize, unclear: Unclear) {
        let slot = &self.flow.slots[index];
        let text = match unclear {
            Unclear::Day => wording::which_day(self.state.language, slot),
            Unclear::Several => wording::one_of_them(self.state.language),
        };
        self.ask_again(text);
    }

    fn digress(&mut self, question: String) {
        self.effects.push(Effect::Digress { question });
        self.remind();
    }

    /// Says again what is waited for, in short.
    pub(super) fn remind(&mut self) {
        let language = self.state.language;
        match self.state.phase.clone() {
            Phase::Asking { slot } => {
                if let Some(slot) = self.flow.slot(&slot) {
                    let text = wording::reminder(language, self.flow.title.get(language), slot.label.get(language));
                    let options = self.options_text(slot);
                    self.say(if options.is_empty() {
                        text
                    } else {
                        format!("{text}\n{options}")
                    });
                }
            }
            Phase::Confirming { action } | Phase::Changing { action } => {
                let text = self.confirm_text(&action);
                self.state.phase = Phase::Confirming { action };
                self.say(text);
            }
            Phase::Retrying { .. } => self.say(wording::tool_failed(language)),
            Phase::Begun | Phase::Calling { .. } | Phase::Ended { .. } => {}
        }
    }

    fn cancels(&self, heard: &Heard, asked: Option<&Slot>) -> bool {
        if is_question(&heard.folded) {
            return false;
        }
        let yes_no_asked = asked.is_some_and(|slot| slot.kind == SlotKind::YesNo);
        let said = CANCEL.is_match(&heard.folded) || (!yes_no_asked && NO_MORE.is_match(&heard.folded));
        if !said {
            return false;
        }
        // "算了，还是周四吧" changes, and does not cancel.
        let order: Vec<(usize, bool)> = (0..self.flow.slots.len())
            .filter(|index| self.flow.slots[*index].kind != SlotKind::Choice)
            .map(|index| (index, false))
            .collect();
        let found = self.extract(&heard.without(&[]), &order);
        !found.values.iter().any(|(index, _)| {
            asked.is_none_or(|slot| {
                self.flow.slots[*index].name == slot.name
                    || self.state.slots.contains_key(&self.flow.slots[*index].name)
            })
        })
    }

    fn cancel(&mut self) {
        let language = self.state.language;
        self.say(wording::cancelled(language, self.flow.title.get(language)));
        self.end(End::Cancelled);
    }

    /// Cancel, repeat, back: whether it was one of them.
    fn command(&mut self, heard: &Heard, asked: Option<&Slot>) -> bool {
        let text = &heard.folded;
        if self.cancels(heard, asked) {
            self.cancel();
        } else if REPEAT.is_match(text) && text.chars().count() <= 30 {
            self.repeat();
        } else if BACK.is_match(text) && text.chars().count() <= 20 && !is_question(text) {
            self.back();
        } else {
            return false;
        }
        true
    }

    fn repeat(&mut self) {
        match self.state.phase.clone() {
            Phase::Asking { slot } => {
                if let Some(slot) = self.flow.slot(&slot) {
                    let text = self.prompt_text(slot);
                    self.say(text);
                }
            }
            _ => self.remind(),
        }
    }

    fn back(&mut self) {
        let asking = self.state.asking().map(str::to_owned);
        while let Some(name) = self.state.asked.pop() {
            if Some(&name) == asking.as_ref() {
                continue;
            }
            let Some(index) = self
                .flow
                .slots
                .iter()
                .position(|slot| slot.name == name && slot.kind != SlotKind::OneTimeCode)
            else {
                continue;
            };
            return self.ask_for(index);
        }
        if let Some(name) = asking {
            self.state.asked.push(name);
        }
        self.say(wording::first_step(self.state.language));
        self.repeat();
    }

    /// How a message corrects, where it does.
    fn correction(&self, heard: &Heard) -> Correction {
        let text = &heard.folded;
        let mut marked = MARKER.is_match(text);
        let mut places: Vec<Range<usize>> = Vec::new();
        let mut target = None;
        if let Some(change) = CHANGE.find_iter(text).last() {
            marked = true;
            // What stands before "改成" names the slot or its old value.
            target = self.named(&text[..change.end()]);
            places.push(0..change.end());
        } else {
            for captures in REJECTED.captures_iter(text).chain(UNFIT.captures_iter(text)) {
                if let Some(rejected) = captures.name("x") {
                    let rest = text[rejected.end()..].trim_start_matches(|c: char| !c.is_alphanumeric());
                    // "不是周三" alone rejects and gives nothing: it is left to be asked again.
                    if !rest.is_empty() || text[..rejected.start()].chars().count() > 4 {
                        marked = true;
                        places.push(rejected.range());
                    }
                }
            }
            if marked {
                target = self
                    .named(text)
                    .filter(|index| self.state.slots.contains_key(&self.flow.slots[*index].name));
            }
        }
        Correction {
            rest: heard.without(&places),
            target,
            marked,
        }
    }

    /// The slot whose label, or a word that stands for it, is in `text`.
    fn named(&self, text: &str) -> Option<usize> {
        const WORDS: [(SlotKind, &[&str]); 6] = [
            (SlotKind::Phone, &["电话", "手机", "号码", "phone", "number"]),
            (SlotKind::Date, &["日期", "日子", "哪天", "date", "day"]),
            (SlotKind::Datetime, &["时间", "日期", "time", "date"]),
            (SlotKind::Time, &["时间", "几点", "time"]),
            (SlotKind::Address, &["地址", "address"]),
            (SlotKind::Amount, &["金额", "钱", "amount"]),
        ];
        let slots = &self.flow.slots;
        let by_label = slots.iter().position(|slot| {
            [&slot.label.zh, &slot.label.en]
                .iter()
                .any(|label| text.contains(&Heard::new(label).folded))
        });
        by_label.or_else(|| {
            slots.iter().position(|slot| {
                WORDS
                    .iter()
                    .any(|(kind, words)| *kind == slot.kind && words.iter().any(|word| text.contains(word)))
            })
        })
    }

    fn hear_code(&mut self, index: usize, heard: &Heard) {
        let slot = &self.flow.slots[index];
        if self.command(heard, Some(slot)) {
            return;
        }
        let correction = self.correction(heard);
        if let Some(target) = correction.target {
            let found = self.extract(&correction.rest, &[(target, true)]);
            if found.values.is_empty() {
                self.ask_for(target);
            } else {
                self.take(found, heard);
            }
            return;
        }
        if let Some((_, code)) = slots::codes(heard).into_iter().next_back() {
            return self.verify(index, &code);
        }
        if RESEND.is_match(&heard.folded) {
            return self.send_again(index);
        }
        let order: Vec<(usize, bool)> = (0..self.flow.slots.len()).map(|index| (index, false)).collect();
        let found = self.extract(&correction.rest, &order);
        if found.values.is_empty() {
            if is_question(&heard.folded) || is_beside(heard) {
                return self.digress(heard.text.clone());
            }
            return self.ask_again(self.explain(slot));
        }
        self.take(found, heard);
    }

    /// Values that differ from what is filled.
    fn changes_in(&self, correction: &Correction) -> Found {
        let order: Vec<(usize, bool)> = match correction.target {
            Some(target) => vec![(target, true)],
            None => (0..self.flow.slots.len()).map(|index| (index, false)).collect(),
        };
        let mut found = self.extract(&correction.rest, &order);
        found
            .values
            .retain(|(index, value)| self.state.slots.get(&self.flow.slots[*index].name) != Some(value));
        found
    }

    fn hear_confirmation(&mut self, action: &str, heard: &Heard) {
        if self.command(heard, None) {
            return;
        }
        let mut correction = self.correction(heard);
        let said = yes_no(&heard.folded);
        if said == Some(true) && correction.target.is_none() {
            correction.marked = false;
        }
        let found = self.changes_in(&correction);
        if !found.values.is_empty() {
            return self.take(found, heard);
        }
        if let Some(target) = correction.target.filter(|_| correction.marked && said != Some(true)) {
            return self.ask_for(target);
        }
        if is_question(&heard.folded) {
            return self.digress(heard.text.clone());
        }
        match said {
            Some(true) if heard.folded.chars().count() <= 40 && !BUT.is_match(&heard.folded) => {
                self.state.failures = 0;
                self.confirm(action);
            }
            Some(false) => {
                let labels: Vec<&str> = self
                    .flow
                    .slots
                    .iter()
                    .filter(|slot| self.state.slots.contains_key(&slot.name))
                    .map(|slot| slot.label.get(self.state.language))
                    .collect();
                let text = wording::what_to_change(self.state.language, &labels);
                self.state.phase = Phase::Changing {
                    action: action.to_owned(),
                };
                self.say(text);
            }
            _ => self.ask_again(wording::confirm_again(self.state.language)),
        }
    }

    fn hear_change(&mut self, action: &str, heard: &Heard) {
        if self.command(heard, None) {
            return;
        }
        let correction = self.correction(heard);
        let found = self.changes_in(&correction);
        if !found.values.is_empty() {
            return self.take(found, heard);
        }
        if let Some(target) = correction.target.or_else(|| self.named(&heard.folded)) {
            return self.ask_for(target);
        }
        if is_question(&heard.folded) {
            return self.digress(heard.text.clone());
        }
        match yes_no(&heard.folded) {
            // Nothing is to be changed after all: it is confirmed again, and not by this.
            Some(true) => {
                self.state.phase = Phase::Confirming {
                    action: action.to_owned(),
                };
                self.remind();
            }
            Some(false) => self.cancel(),
            None => self.ask_again(wording::confirm_again(self.state.language)),
        }
    }
}

/// Whether a value that was not asked for is surely meant for its slot: few digits are, where words before them say so.
fn stands_for_itself(slot: &Slot, value: &Value, text: &str, place: &Range<usize>) -> bool {
    match value {
        Value::OrderNumber(number) if number.len() <= 6 && number.chars().all(|c| c.is_ascii_digit()) => {
            let start = text[..place.start].char_indices().rev().nth(15).map_or(0, |(at, _)| at);
            let before = &text[start..place.start];
            NEAR_DIGITS.is_match(before)
                || before.contains(&Heard::new(&slot.label.zh).folded)
                || before.contains(&Heard::new(&slot.label.en).folded)
        }
        _ => true,
    }
}

/// A question in a message beside its values: a clause that holds none of them.
fn aside(heard: &Heard, places: &[Range<usize>]) -> Option<String> {
    let mut start = 0;
    let mut clauses = Vec::new();
    for (at, c) in heard.folded.char_indices() {
        if matches!(c, ',' | '，' | '。' | ';' | '；' | '!' | '?' | '？') {
            clauses.push(start..at + c.len_utf8());
            start = at + c.len_utf8();
        }
    }
    clauses.push(start..heard.folded.len());
    clauses
        .into_iter()
        .filter(|clause| {
            !places
                .iter()
                .any(|place| place.start < clause.end && clause.start < place.end)
        })
        .find(|clause| {
            let text = &heard.folded[clause.clone()];
            is_question(text) && text.chars().filter(|c| c.is_alphanumeric()).count() >= 4
        })
        .and_then(|clause| heard.text.get(clause).map(|text| text.trim().to_owned()))
}

/// Whether a value passes a check.
fn holds(check: &Check, value: &Value, now: DateTime) -> bool {
    let amount = |value: &Value| match value {
        Value::Amount(cents) => Some(*cents as f64 / 100.0),
        Value::Number(number) => Some(*number),
        _ => None,
    };
    let day = match value {
        Value::Date(date) => Some(*date),
        Value::Datetime(moment) => Some(moment.date()),
        _ => None,
    };
    let time = match value {
        Value::Time(time) => Some(*time),
        Value::Datetime(moment) => Some(moment.time()),
        _ => None,
    };
    let ahead = || {
        day.and_then(|day| day.since(now.date()).ok())
            .map(|span| f64::from(span.get_days()))
    };
    let minutes = || time.map(|time| f64::from(i32::from(time.hour()) * 60 + i32::from(time.minute())));
    let words = || match value {
        Value::Text(text) | Value::Address(text) | Value::OrderNumber(text) | Value::Phone(text) => Some(text.as_str()),
        _ => None,
    };
    match check.rule {
        Rule::Min => amount(value).is_none_or(|amount| amount >= check.number),
        Rule::Max => amount(value).is_none_or(|amount| amount <= check.number),
        Rule::NotPast => match value {
            Value::Datetime(moment) => *moment >= now,
            _ => day.is_none_or(|day| day >= now.date()),
        },
        Rule::NotFuture => match value {
            Value::Datetime(moment) => *moment <= now,
            _ => day.is_none_or(|day| day <= now.date()),
        },
        Rule::MinDaysAhead => ahead().is_none_or(|days| days >= check.number),
        Rule::MaxDaysAhead => ahead().is_none_or(|days| days <= check.number),
        Rule::NotBefore => minutes().is_none_or(|minutes| minutes >= check.number),
        Rule::NotAfter => minutes().is_none_or(|minutes| minutes <= check.number),
        Rule::Pattern => words()
            .zip(check.pattern.as_ref())
            .is_none_or(|(text, pattern)| pattern.find(text).is_some_and(|hit| hit.range() == (0..text.len()))),
        Rule::MaxChars => words().is_none_or(|text| text.chars().count() as f64 <= check.number),
    }
}
