//! How sure a route is: logistic models over what search, reader and language model report.
//!
//! A cosine threshold alone cannot refuse (right pairs and off-topic questions overlap), so the models weigh cosines,
//! their margins to the other candidates, and above all what a reader says of the best ones. That the base can answer and that
//! the first hit is the answer are two questions: the first decides between showing what is related and refusing, the second
//! whether anything is sent as the answer.

use super::evidence::Evidence;
use super::quote::Detail;
use crate::retrieval::{Found, Hit, Scores, Source, rank};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What the search reports about a question, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Question and a wording of the best FAQ are the same.
    pub exact: bool,
    /// For the best FAQ, where there is one: see [`FAQ_FEATURES`].
    pub faq: Option<[f32; FAQ_FEATURES.len()]>,
    /// For the passages found: see [`PASSAGE_FEATURES`].
    pub passages: [f32; PASSAGE_FEATURES.len()],
    /// For the first of them: see [`FIRST_FEATURES`].
    pub first: [f32; FIRST_FEATURES.len()],
    /// What the language model says of the first, where it has judged: see [`JUDGED_FEATURES`].
    pub judged: Option<[f32; JUDGED_FEATURES.len()]>,
}

/// The features of the best FAQ, in order.
pub const FAQ_FEATURES: [&str; 8] = [
    "similarity",
    "overlap",
    "margin",
    "agreement",
    "share",
    "segment",
    "reading",
    "same",
];

/// The features of what was found, in order.
pub const PASSAGE_FEATURES: [&str; 6] = [
    "segment",
    "segment_margin",
    "dense",
    "dense_margin",
    "reading",
    "reading_second",
];

/// The features of the first hit, in order: the logarithm of its share among the hits that were read (see
/// `retrieval::rank`), its share in the search, its log-odds by the reader, its nearest segment, how far that is before the middle of
/// what was found, and the logarithm of how likely the answer lies within what would be quoted of it.
pub const FIRST_FEATURES: [&str; 6] = ["share", "fused", "reading", "segment", "segment_margin", "held"];

/// The features that a language model adds, in order.
pub const JUDGED_FEATURES: [&str; 2] = ["yes", "likelihood"];

/// The most by which the best FAQ's likeness counts as more than the second's: what one question in a hundred has where there are many
/// FAQs, and every question where there are two.
const WIDEST_MARGIN: f32 = 0.05;

/// The log-odds of what was not read or not found.
const UNREAD: f32 = -4.0;

/// A logarithm that stays finite.
fn ln(share: f32) -> f32 {
    share.max(1e-3).ln()
}

/// How much of the words of two quotations must be the same for the two to say the same, whatever numbers they give.
const TWINS: f32 = 0.8;

/// The letters of what would be quoted of a hit, in pairs, without its numbers: two versions of a source give other ones.
fn wording(hit: &Hit, question: &str) -> HashSet<[char; 2]> {
    let evidence = Evidence::of(hit);
    let quote = evidence.quoted(None, Detail::of(question));
    let letters: Vec<char> = evidence.text[quote.part]
        .chars()
        .filter(|c| c.is_alphabetic())
        .collect();
    letters.windows(2).map(|two| [two[0], two[1]]).collect()
}

/// The share of the first hit among those that were read, 0 to 1, together with those that say the same.
fn share(hits: &[Hit], question: &str) -> f32 {
    let read: Vec<&Hit> = hits.iter().filter(|hit| hit.scores.reading.is_some()).collect();
    let Some(first) = read.first() else { return 0.0 };
    let (best, words) = (rank(first), wording(first, question));
    let twin = |hit: &Hit| {
        let other = wording(hit, question);
        let both = words.intersection(&other).count();
        both as f32 >= TWINS * (words.len() + other.len() - both).max(1) as f32
    };
    let (mut same, mut all) = (1.0, 1.0);
    for hit in &read[1..] {
        let odds = (rank(hit) - best).exp();
        all += odds;
        same += if twin(hit) { odds } else { 0.0 };
    }
    same / all
}

/// How likely the answer lies within what would be quoted of a hit, if the hit has it: 0 to 1.
fn held(hit: &Hit, question: &str) -> f32 {
    let evidence = Evidence::of(hit);
    let quote = evidence.quoted(None, Detail::of(question));
    evidence.answer.within(&[quote.part])
}

impl Features {
    /// The features of what was found for `question`.
    #[must_use]
    pub fn of(found: &Found, question: &str) -> Self {
        let best_faq = found.faqs.first();
        let similarity = best_faq.map_or(0.0, |hit| hit.similarity);
        let overlap = best_faq.map_or(0.0, |hit| hit.overlap);
        // An only FAQ is no surer for that, nor is one of three things that have nothing in common.
        let second = found.faqs.iter().skip(1).map(|hit| hit.similarity).reduce(f32::max);
        let margin = second.map_or(0.0, |second| (similarity - second).min(WIDEST_MARGIN));
        let faq_hit = best_faq.and_then(|best| {
            found
                .hits
                .iter()
                .find(|hit| matches!(&hit.source, Source::Faq(faq) if faq.id == best.faq.id))
        });
        // Whether the search over passages puts the same FAQ first, or at least among the first three.
        let place = faq_hit.map(|own| {
            let before = |hit: &&Hit| hit.scores.fused > own.scores.fused;
            found.hits.iter().filter(before).count()
        });
        let agreement = place
            .filter(|place| *place < 3)
            .map_or(0.0, |place| 1.0 / (place + 1) as f32);
        let of = |score: fn(&Scores) -> f32| -> Vec<f32> {
            let mut all: Vec<f32> = found.hits.iter().map(|hit| score(&hit.scores)).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            all
        };
        let best_and_margin = |all: &[f32]| {
            let best = all.first().copied().unwrap_or(0.0);
            (best, best - all.get(all.len() / 2).copied().unwrap_or(best))
        };
        let (dense, dense_margin) = best_and_margin(&of(|scores| scores.dense.unwrap_or_default()));
        let (segment, segment_margin) = best_and_margin(&of(|scores| scores.segment.unwrap_or_default()));
        let mut readings: Vec<f32> = found.hits.iter().filter_map(|hit| hit.scores.reading).collect();
        readings.sort_by(|a, b| b.total_cmp(a));
        let best = found.hits.first();
        let judged = best.and_then(|hit| Some([hit.scores.yes?, hit.scores.likelihood?]));
        Self {
            first: best.map_or([UNREAD; FIRST_FEATURES.len()], |hit| {
                [
                    ln(share(&found.hits, question)),
                    hit.scores.fused,
                    hit.scores.reading.unwrap_or(UNREAD),
                    hit.scores.segment.unwrap_or_default(),
                    segment_margin,
                    ln(held(hit, question)),
                ]
            }),
            judged,
            exact: best_faq.is_some_and(|hit| hit.exact),
            faq: best_faq.is_some().then(|| {
                [
                    similarity,
                    overlap,
                    margin,
                    agreement,
                    faq_hit.map_or(0.0, |hit| hit.scores.fused),
                    faq_hit.and_then(|hit| hit.scores.segment).unwrap_or_default(),
                    best_faq.and_then(|hit| hit.reading).unwrap_or(UNREAD),
                    best_faq.and_then(|hit| hit.same).unwrap_or(UNREAD),
                ]
            }),
            passages: [
                segment,
                segment_margin,
                dense,
                dense_margin,
                readings.first().copied().unwrap_or(UNREAD),
                readings.get(1).copied().unwrap_or(UNREAD),
            ],
        }
    }
}

/// A logistic model: probability = 1 / (1 + exp(-(bias + weights · features))).
#[derive(Clone, Debug, PartialEq)]
struct Logistic<const N: usize> {
    /// Added to the sum.
    bias: f32,
    /// One for each feature.
    weights: [f32; N],
}

impl<const N: usize> Logistic<N> {
    /// The probability for `features`.
    fn probability(&self, features: &[f32; N]) -> f32 {
        let sum: f32 = self.weights.iter().zip(features).map(|(w, x)| w * x).sum();
        1.0 / (1.0 + (-(self.bias + sum)).exp())
    }
}

/// What of the questions that a model was fitted on would be sent from a confidence on, judged without the question in the fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskPoint {
    /// The confidence.
    pub from: f32,
    /// Share of the questions that are sent.
    pub sent: f32,
    /// Share of these that are wrong.
    pub wrong: f32,
}

/// A fitted model, as a calibration holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedModel {
    /// The names of its features.
    pub features: Vec<String>,
    /// Added to the sum.
    pub bias: f32,
    /// One for each feature.
    pub weights: Vec<f32>,
    /// Risk against coverage, the surest first.
    #[serde(default)]
    pub curve: Vec<RiskPoint>,
}

/// All fitted models, as `kefu eval calibrate --out` writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The reader that they were fitted with.
    pub reader: String,
    /// The hash of the embedding model.
    pub embedder: String,
    /// How many questions they were fitted on.
    pub questions: usize,
    /// That the best FAQ answers the question: [`FAQ_FEATURES`].
    pub faq: FittedModel,
    /// That what was found answers the question: [`PASSAGE_FEATURES`].
    pub passages: FittedModel,
    /// That the first hit is the answer: [`FIRST_FEATURES`].
    pub first: FittedModel,
    /// The same where a language model has judged: [`FIRST_FEATURES`], then [`JUDGED_FEATURES`].
    pub judged: FittedModel,
}

/// The calibration that comes with the program.
const BUILT_IN: &str = include_str!("../../models/reader/calibration.json");

/// Why a calibration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// It is no such file.
    #[error("this is no calibration: {0}")]
    Json(#[from] serde_json::Error),
    /// A model is made for other features than the program computes.
    #[error(
        "its model \"{0}\" is for other features than this version computes; run `kefu eval calibrate --out` again"
    )]
    Features(&'static str),
}

/// From which confidence on at most a share `wrong` of what was sent was wrong: as low as that allows. Above 1, so that nothing
/// is sent, where no confidence does.
fn from_which(curve: &[RiskPoint], wrong: f32) -> f32 {
    let allowed = curve.iter().filter(|point| point.wrong <= wrong);
    allowed.map(|point| point.from).reduce(f32::min).unwrap_or(2.0)
}

/// The fitted models, and from where on an answer is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Confidence {
    faq_model: Logistic<{ FAQ_FEATURES.len() }>,
    passage_model: Logistic<{ PASSAGE_FEATURES.len() }>,
    first_model: Logistic<{ FIRST_FEATURES.len() }>,
    judged_model: Logistic<{ FIRST_FEATURES.len() + JUDGED_FEATURES.len() }>,
    calibration: Calibration,
}

impl Confidence {
    /// The models of a calibration.
    ///
    /// # Errors
    /// One that is for other features.
    pub fn new(calibration: Calibration) -> Result<Self, CalibrationError> {
        fn model<const N: usize>(
            name: &'static str,
            features: &[&str],
            from: &FittedModel,
        ) -> Result<Logistic<N>, CalibrationError> {
            let weights = <[f32; N]>::try_from(from.weights.as_slice());
            match weights {
                Ok(weights) if from.features == features => Ok(Logistic {
                    bias: from.bias,
                    weights,
                }),
                _ => Err(CalibrationError::Features(name)),
            }
        }
        let judged: Vec<&str> = FIRST_FEATURES.into_iter().chain(JUDGED_FEATURES).collect();
        Ok(Self {
            faq_model: model("faq", &FAQ_FEATURES, &calibration.faq)?,
            passage_model: model("passages", &PASSAGE_FEATURES, &calibration.passages)?,
            first_model: model("first", &FIRST_FEATURES, &calibration.first)?,
            judged_model: model("judged", &judged, &calibration.judged)?,
            calibration,
        })
    }

    /// The models of a calibration as it is written in a file.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn parse(json: &str) -> Result<Self, CalibrationError> {
        Self::new(serde_json::from_str(json)?)
    }

    /// The models that come with the program.
    ///
    /// # Errors
    /// None, if the program's tests passed.
    pub fn built_in() -> Result<Self, CalibrationError> {
        Self::parse(BUILT_IN)
    }

    /// What the models were fitted on.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// From which confidence on at most a share `wrong` of the FAQs sent was wrong; above 1 if there is none.
    #[must_use]
    pub fn faq_from(&self, wrong: f32) -> f32 {
        from_which(&self.calibration.faq.curve, wrong)
    }

    /// The same for what is quoted of the first hit, where no language model has judged and where one has. Both models give
    /// probabilities: where no curve was measured of the latter, that of the former says from which one on.
    #[must_use]
    pub fn first_from(&self, wrong: f32) -> [f32; 2] {
        let [first, judged] = [&self.calibration.first, &self.calibration.judged].map(|model| &model.curve);
        let judged = if judged.is_empty() { first } else { judged };
        [first, judged].map(|curve| from_which(curve, wrong))
    }
}

impl Confidence {
    /// How sure it is that the best FAQ answers: 1 for a question in its own wording, 0 where there is none.
    #[must_use]
    pub fn faq(&self, features: &Features) -> f32 {
        if features.exact {
            1.0
        } else {
            (features.faq.as_ref()).map_or(0.0, |features| self.faq_model.probability(features))
        }
    }

    /// How sure it is that the first hit is the answer.
    #[must_use]
    pub fn first(&self, features: &Features) -> f32 {
        match features.judged {
            None => self.first_model.probability(&features.first),
            Some([yes, likelihood]) => {
                let [share, fused, reading, segment, margin, held] = features.first;
                self.judged_model
                    .probability(&[share, fused, reading, segment, margin, held, yes, likelihood])
            }
        }
    }

    /// How sure it is that the passages found answer.
    #[must_use]
    pub fn passages(&self, features: &Features) -> f32 {
        self.passage_model.probability(&features.passages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DocumentId, Faq, FaqId, KbVersion, Passage, PassageId, Scope};
    use crate::retrieval::FaqHit;

    fn hit(segment: f32, dense: f32, reading: f32) -> Hit {
        let passage = Passage {
            id: PassageId::new(),
            document_id: DocumentId::new(),
            ordinal: 0,
            title_path: Vec::new(),
            page: None,
            text: String::new(),
            start: 0,
            end: 0,
        };
        let scores = Scores {
            dense: Some(dense),
            segment: Some(segment),
            reading: Some(reading),
            ..Scores::default()
        };
        Hit {
            source: Source::Passage(passage),
            scores,
            answer: None,
        }
    }

    fn found(faqs: Vec<FaqHit>) -> Found {
        Found {
            faqs,
            hits: vec![hit(0.92, 0.9, 4.0), hit(0.84, 0.83, -3.0), hit(0.83, 0.82, -4.0)],
            kb_version: KbVersion(1),
            unknown: Vec::new(),
            embed_ms: 0.0,
            search_ms: 0.0,
        }
    }

    #[test]
    fn two_versions_of_a_source_do_not_share_what_speaks_for_them() {
        let with = |text: &str| {
            let mut hit = hit(0.9, 0.9, 3.0);
            if let Source::Passage(passage) = &mut hit.source {
                text.clone_into(&mut passage.text);
            }
            hit
        };
        let share = |other: &str| super::share(&[with("寄往北区的包裹运费为8元。"), with(other)], "运费多少");
        assert!(share("寄往北区的包裹运费为12元。") > 0.99);
        assert!((share("遗失的包裹请向网点报告。") - 0.5).abs() < 0.01);
    }

    #[test]
    fn the_curve_says_from_which_confidence_on_so_many_are_wrong() {
        let point = |from, sent, wrong| RiskPoint { from, sent, wrong };
        // The surest ones are few, and one of them is wrong.
        let curve = [
            point(0.9, 0.1, 0.1),
            point(0.8, 0.3, 0.03),
            point(0.7, 0.5, 0.04),
            point(0.6, 0.8, 0.2),
        ];
        assert_eq!(super::from_which(&curve, 0.05).to_bits(), 0.7_f32.to_bits());
        assert_eq!(super::from_which(&curve, 0.3).to_bits(), 0.6_f32.to_bits());
        assert!(
            super::from_which(&curve, 0.01) > 1.0 && super::from_which(&[], 1.0) > 1.0,
            "nothing is sent"
        );
    }

    #[test]
    fn a_calibration_for_other_features_is_refused() {
        let mut calibration = Confidence::built_in().unwrap().calibration().clone();
        let json = serde_json::to_string(&calibration).unwrap();
        assert_eq!(Confidence::parse(&json).unwrap().calibration(), &calibration);
        calibration.faq.features.swap(0, 1);
        assert!(matches!(
            Confidence::new(calibration),
            Err(CalibrationError::Features("faq"))
        ));
        assert!(matches!(Confidence::parse("{}"), Err(CalibrationError::Json(_))));
    }

    #[test]
    fn a_base_without_faqs_is_as_sure_of_its_passages() {
        let unlike = FaqHit {
            faq: Faq {
                id: FaqId::new(),
                key: "1".to_owned(),
                question: "q".to_owned(),
                variants: Vec::new(),
                answer: "a".to_owned(),
                category: String::new(),
                source: String::new(),
                imported_at: jiff::Timestamp::UNIX_EPOCH,
                scope: Scope::default(),
            },
            wording: 0,
            similarity: 0.8,
            overlap: 0.0,
            exact: false,
            rank: 0.0,
            same: None,
            reading: None,
        };
        let confidence = Confidence::built_in().unwrap();
        let [with, without] = [vec![unlike], Vec::new()].map(|faqs| {
            let features = Features::of(&found(faqs), "q");
            (confidence.passages(&features).to_bits(), confidence.faq(&features))
        });
        assert_eq!(with.0, without.0);
        assert!(f32::from_bits(without.0) > 0.5, "{}", f32::from_bits(without.0));
        assert!(
            without.1 == 0.0 && with.1 < 0.2,
            "an only FAQ is not the answer to everything: {}",
            with.1
        );
    }
}
