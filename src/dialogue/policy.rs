//! The decision how to answer: a pure function of what was understood and found.

use super::confidence::{Confidence, Features};
use crate::config::DialogueConfig;
use crate::domain::Route;
use crate::understanding::Smalltalk;

/// From which confidence on something is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// The best FAQ is what was asked, so its approved answer is given word for word.
    pub faq: f32,
    /// The first hit is the answer.
    pub answer: f32,
    /// The same where a language model has judged.
    pub judged: f32,
    /// A table answers by itself.
    pub table: f32,
    /// The first hit is the answer, and a second reader has looked and sees the answer in the same place.
    pub confirmed: f32,
    /// From which agreement on two readers see the answer in the same place.
    pub agreement: f32,
    /// What was found may be related, so the customer is shown it and asked.
    pub clarify: f32,
    /// The turn in a row that is not resolved and goes to a person; 0: none does.
    pub unresolved_turns: usize,
}

impl Thresholds {
    /// Those that the settings name; where these leave one open, the one from which on at most the share of answers is wrong that
    /// the settings allow, by the calibration.
    #[must_use]
    pub fn of(config: &DialogueConfig, confidence: &Confidence) -> Self {
        let or = |named: f32, open: f32| if named < 0.0 { open } else { named };
        let [answer, judged] = confidence.first_from(config.wrong_answers);
        Self {
            faq: or(config.faq_confidence, confidence.faq_from(config.wrong_answers)),
            answer: or(config.answer_confidence, answer),
            judged: or(config.answer_confidence, judged),
            table: or(config.answer_confidence, 1.0 - config.wrong_answers),
            confirmed: config.confirmed_confidence,
            agreement: config.agreement,
            clarify: config.clarify_confidence,
            unresolved_turns: config.handoff_after_unresolved,
        }
    }
}

impl Thresholds {
    /// From which confidence on the first hit is sent, judged or not.
    fn answer(&self, features: &Features) -> f32 {
        if features.judged.is_some() {
            self.judged
        } else {
            self.answer
        }
    }
}

/// What was understood of a message before any search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Understood {
    /// It is smalltalk and nothing else.
    pub smalltalk: Option<Smalltalk>,
    /// It asks for a person.
    pub wants_person: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Give the best FAQ's approved answer.
    Faq {
        /// How sure.
        confidence: f32,
    },
    /// Answer from the passages found.
    Passages {
        /// How sure.
        confidence: f32,
    },
    /// Reply to smalltalk.
    Smalltalk(Smalltalk),
    /// Show what may be related and ask which of it is meant.
    Clarify {
        /// How sure that something of it answers.
        confidence: f32,
    },
    /// Say that the knowledge base has no answer.
    Refuse {
        /// How sure that it has none.
        confidence: f32,
    },
    /// Call a person.
    Handoff {
        /// `requested`, `unresolved`, `emotion` or `risk`.
        reason: &'static str,
    },
}

/// Decides before the search where that is possible: it costs nothing then.
#[must_use]
pub fn decide_early(understood: Understood) -> Option<Decision> {
    if understood.wants_person {
        return Some(Decision::Handoff { reason: "requested" });
    }
    understood.smalltalk.map(Decision::Smalltalk)
}

/// Decides by what was sensed of the customer. A conversation that was handed over once for a mood is not handed over for it again: the
/// customer waits already, and may ask meanwhile.
#[must_use]
pub fn decide_sensed(reason: Option<&'static str>, past_routes: &[Route]) -> Option<Decision> {
    let reason = reason?;
    let waits = past_routes.contains(&Route::Handoff);
    (reason == "risk" || !waits).then_some(Decision::Handoff { reason })
}

/// Whether the best FAQ is what was asked. Needs that FAQ read and nothing else.
#[must_use]
pub fn decide_faq(features: &Features, confidence: &Confidence, at: Thresholds) -> Option<Decision> {
    let faq = confidence.faq(features);
    // Where there is none, none is sent, however low the settings put the threshold.
    let likely = features.faq.is_some() && faq >= at.faq;
    (features.exact || likely).then_some(Decision::Faq { confidence: faq })
}

/// Whether a language model's judgement of what was read could change anything: the base may have an answer, and the first hit
/// is not surely it.
#[must_use]
pub fn asks_judge(features: &Features, confidence: &Confidence, at: Thresholds) -> bool {
    confidence.passages(features) >= at.clarify && confidence.first(features) < at.answer(features)
}

/// Whether a second reader's word could lead to an answer.
#[must_use]
pub fn asks_second(features: &Features, confidence: &Confidence, at: Thresholds) -> bool {
    confidence.first(features) >= at.confirmed
}

/// Decides by what was found and read. `past_routes` are those of the replies before, oldest first; `agreement` is how far a
/// second reader sees the answer where it would be quoted, if one has looked.
#[must_use]
pub fn decide(
    features: &Features,
    past_routes: &[Route],
    confidence: &Confidence,
    at: Thresholds,
    agreement: Option<f32>,
) -> Decision {
    if let Some(decision) = decide_faq(features, confidence, at) {
        return decision;
    }
    let (answerable, right) = (confidence.passages(features), confidence.first(features));
    let answers = match agreement {
        None => right >= at.answer(features),
        Some(agreement) => agreement >= at.agreement && right >= at.confirmed,
    };
    if answers {
        return Decision::Passages { confidence: right };
    }
    let unresolved = past_routes
        .iter()
        .rev()
        .take_while(|route| matches!(route, Route::Refuse | Route::Clarify))
        .count();
    if at.unresolved_turns > 0 && unresolved + 1 >= at.unresolved_turns {
        return Decision::Handoff { reason: "unresolved" };
    }
    if answerable >= at.clarify {
        return Decision::Clarify { confidence: answerable };
    }
    Decision::Refuse {
        confidence: 1.0 - answerable,
    }
}

/// How sure an answer is in which a table names every thing and the column that the question names, and every word of the question
/// is understood. Of the 72 questions in `tests/fixtures/tables` that their tables do not answer none is answered; of the 38 of these that
/// it was not made with, one was at first.
const TABLE_CONFIDENCE: f32 = 0.975;

/// The decision where a table surely answers (`sure`). The reader was trained on texts that hold an answer, and a difference
/// stands nowhere: what it says against a comparison says nothing.
#[must_use]
pub fn with_table(decision: Decision, sure: bool, at: Thresholds) -> Decision {
    match decision {
        Decision::Passages { confidence } if sure => Decision::Passages {
            confidence: confidence.max(TABLE_CONFIDENCE),
        },
        Decision::Clarify { .. } | Decision::Refuse { .. } | Decision::Handoff { reason: "unresolved" }
            if sure && TABLE_CONFIDENCE >= at.table =>
        {
            Decision::Passages {
                confidence: TABLE_CONFIDENCE,
            }
        }
        other => other,
    }
}

/// The decision where the question names a company that no source names: what was found is shown, as nothing more than it is.
#[must_use]
pub fn about_another(decision: Decision) -> Decision {
    match decision {
        Decision::Faq { confidence } | Decision::Passages { confidence } => Decision::Clarify { confidence },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Thresholds, Understood, about_another, decide, decide_early, decide_sensed, with_table};
    use crate::config::{Overrides, load};
    use crate::dialogue::confidence::{Confidence, Features};
    use crate::domain::Route;

    #[test]
    fn thresholds_are_those_of_the_settings_or_of_the_curve() {
        let mut config = load(&Overrides::default()).unwrap().dialogue;
        let confidence = Confidence::built_in().unwrap();
        config.wrong_answers = 0.1;
        let open = Thresholds::of(&config, &confidence);
        assert_eq!(open.faq.to_bits(), confidence.faq_from(0.1).to_bits());
        assert_eq!(
            [open.answer, open.judged].map(f32::to_bits),
            confidence.first_from(0.1).map(f32::to_bits)
        );
        assert!((open.table - 0.9).abs() < 1e-6);
        (config.faq_confidence, config.answer_confidence) = (0.7, 0.4);
        let named = Thresholds::of(&config, &confidence);
        assert_eq!(
            (named.faq, named.answer, named.judged, named.table),
            (0.7, 0.4, 0.4, 0.4)
        );
    }

    const AT: Thresholds = Thresholds {
        faq: 0.5,
        answer: 0.5,
        judged: 0.5,
        table: 0.5,
        confirmed: 0.4,
        agreement: 0.7,
        clarify: 0.2,
        unresolved_turns: 3,
    };

    fn nothing_found() -> Features {
        Features::default()
    }

    #[test]
    fn what_holds_of_us_is_no_answer_about_another() {
        for sure in [
            Decision::Faq { confidence: 0.9 },
            Decision::Passages { confidence: 0.9 },
        ] {
            assert_eq!(about_another(sure), Decision::Clarify { confidence: 0.9 });
        }
        let refused = Decision::Refuse { confidence: 0.7 };
        assert_eq!(about_another(refused), refused);
    }

    #[test]
    fn the_wish_for_a_person_comes_before_everything() {
        let understood = Understood {
            wants_person: true,
            ..Understood::default()
        };
        assert_eq!(
            decide_early(understood),
            Some(Decision::Handoff { reason: "requested" })
        );
        assert_eq!(decide_early(Understood::default()), None);
    }

    #[test]
    fn a_mood_calls_a_person_once_and_a_danger_always() {
        let handoff = |reason| Some(Decision::Handoff { reason });
        assert_eq!(decide_sensed(None, &[]), None);
        assert_eq!(decide_sensed(Some("emotion"), &[Route::Refuse]), handoff("emotion"));
        assert_eq!(decide_sensed(Some("emotion"), &[Route::Handoff, Route::Faq]), None);
        assert_eq!(decide_sensed(Some("risk"), &[Route::Handoff]), handoff("risk"));
    }

    #[test]
    fn an_exact_question_gets_its_approved_answer() {
        let features = Features {
            exact: true,
            ..nothing_found()
        };
        assert_eq!(
            decide(&features, &[], &Confidence::built_in().unwrap(), AT, None),
            Decision::Faq { confidence: 1.0 }
        );
    }

    #[test]
    fn no_faq_is_sent_where_there_is_none() {
        let anything = Thresholds { faq: 0.0, ..AT };
        let confidence = Confidence::built_in().unwrap();
        assert_eq!(super::decide_faq(&nothing_found(), &confidence, anything), None);
    }

    #[test]
    fn the_third_unresolved_turn_goes_to_a_person() {
        let decision = |past: &[Route]| decide(&nothing_found(), past, &Confidence::built_in().unwrap(), AT, None);
        assert!(matches!(decision(&[Route::Refuse]), Decision::Refuse { .. }));
        assert!(matches!(
            decision(&[Route::Refuse, Route::Faq, Route::Refuse]),
            Decision::Refuse { .. }
        ));
        assert_eq!(
            decision(&[Route::Refuse, Route::Refuse]),
            Decision::Handoff { reason: "unresolved" }
        );
    }

    #[test]
    fn the_settings_say_after_how_many_unresolved_turns_a_person_is_called() {
        let decision = |turns, past: &[Route]| {
            let at = Thresholds {
                unresolved_turns: turns,
                ..AT
            };
            decide(&nothing_found(), past, &Confidence::built_in().unwrap(), at, None)
        };
        let handoff = Decision::Handoff { reason: "unresolved" };
        assert_eq!(decision(1, &[]), handoff);
        assert_eq!(decision(2, &[Route::Clarify]), handoff);
        assert!(matches!(
            decision(4, &[Route::Clarify, Route::Refuse]),
            Decision::Refuse { .. }
        ));
        assert!(matches!(decision(0, &[Route::Refuse; 9]), Decision::Refuse { .. }));
    }

    #[test]
    fn a_sure_table_answers_unless_the_settings_ask_for_more() {
        let refuse = Decision::Refuse { confidence: 0.9 };
        assert_eq!(with_table(refuse, true, AT), Decision::Passages { confidence: 0.975 });
        assert_eq!(with_table(refuse, false, AT), refuse);
        let strict = Thresholds { table: 0.99, ..AT };
        assert_eq!(with_table(refuse, true, strict), refuse);
        let requested = Decision::Handoff { reason: "requested" };
        assert_eq!(with_table(requested, true, AT), requested);
    }

    /// Features whose confidence for passages is near `sure`.
    fn found(sure: bool) -> Features {
        let (passages, first) = if sure {
            ([0.92, 0.08, 0.9, 0.08, 6.0, 0.0], [-0.1, 0.6, 6.0, 0.92, 0.08, 0.0])
        } else {
            ([0.85, 0.02, 0.85, 0.02, -4.0, -5.0], [-1.5, 0.1, -4.0, 0.85, 0.02, 0.0])
        };
        Features {
            passages,
            first,
            ..Features::default()
        }
    }

    #[test]
    fn two_readers_have_to_agree_where_two_have_looked() {
        let decision = |sure, agreement| decide(&found(sure), &[], &Confidence::built_in().unwrap(), AT, agreement);
        assert!(matches!(decision(true, None), Decision::Passages { .. }));
        assert!(matches!(decision(true, Some(0.9)), Decision::Passages { .. }));
        assert!(matches!(decision(true, Some(0.2)), Decision::Clarify { .. }));
        // What the search does not bear out is not answered, whoever agrees.
        assert!(!matches!(decision(false, Some(1.0)), Decision::Passages { .. }));
    }
}
