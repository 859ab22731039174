//! The choice of the next token from logits.
//!
//! Order: penalties, temperature, top-k, top-p, min-p, then one draw (the order of Hugging Face's `generate` and vLLM).
//! Sources: top-k Fan et al. 2018, arXiv:1805.04833; top-p Holtzman et al. 2019, arXiv:1904.09751; min-p Nguyen et al.
//! 2024, arXiv:2407.01082; repetition penalty Keskar et al. 2019, arXiv:1909.05858; presence and frequency penalties
//! OpenAI's API reference.

mod random;

use super::{InferenceError, Sampling};
use random::Pcg32;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Tokens of the prompt and the answer, counted from the end, to which the repetition penalty applies: some answers'
/// length. Were it the whole prompt, the passages could not be quoted.
pub const REPETITION_WINDOW: usize = 256;
/// The most alternatives a request may ask log-probabilities of (OpenAI's limit).
pub const MAX_TOP_LOGPROBS: usize = 20;
/// Candidates that are sorted first when only top-p limits them; four times as many each time that is not enough.
const FIRST_CANDIDATES: usize = 64;

/// Chooses tokens for one sequence. The same parameters, seed and logits give the same tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Pcg32,
    /// How often each token was generated.
    generated: HashMap<u32, u32>,
    scores: Vec<f32>,
    candidates: Vec<(u32, f32)>,
}

/// A token's log-probability and those of the likeliest alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Natural logarithm of the probability of the token that was chosen.
    pub chosen: f32,
    /// The likeliest tokens, likeliest first.
    pub top: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler for `sampling`.
    ///
    /// # Errors
    /// [`InferenceError::BadParameter`] naming the first parameter out of its range.
    pub fn new(sampling: Sampling) -> Result<Self, InferenceError> {
        check(&sampling)?;
        let random = Pcg32::new(sampling.seed);
        Ok(Self {
            sampling,
            random,
            generated: HashMap::new(),
            scores: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// The next token. `logits` are the model's for every token; `history` is the prompt and what was generated, of
    /// which the end counts. Of equally likely tokens the one with the lower id goes first.
    ///
    /// # Errors
    /// [`InferenceError::Compute`] if no logit is a number.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, InferenceError> {
        self.scores.clear();
        self.scores.extend(
            logits
                .iter()
                .map(|&logit| if logit.is_nan() { f32::NEG_INFINITY } else { logit }),
        );
        self.penalise(history);
        let likeliest = likeliest(&self.scores).ok_or_else(|| {
            InferenceError::Compute(candle_core::Error::Msg("the model's logits are not numbers".to_owned()))
        })?;
        // Below this temperature the quotient overflows; the draw would be greedy anyway.
        let token = if self.sampling.temperature < 1e-4 {
            likeliest
        } else {
            self.draw(likeliest)
        };
        *self.generated.entry(token).or_default() += 1;
        Ok(token)
    }

    fn penalise(&mut self, history: &[u32]) {
        let repetition = self.sampling.repetition_penalty;
        if (repetition - 1.0).abs() > f32::EPSILON {
            let window = &history[history.len().saturating_sub(REPETITION_WINDOW)..];
            let mut seen = window.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some(score) = self.scores.get_mut(token as usize) {
                    *score = if *score > 0.0 {
                        *score / repetition
                    } else {
                        *score * repetition
                    };
                }
            }
        }
        let (presence, frequency) = (self.sampling.presence_penalty, self.sampling.frequency_penalty);
        if presence != 0.0 || frequency != 0.0 {
            for (&token, &count) in &self.generated {
                if let Some(score) = self.scores.get_mut(token as usize) {
                    *score -= presence + frequency * count as f32;
                }
            }
        }
    }

    fn draw(&mut self, likeliest: u32) -> u32 {
        let highest = self.scores[likeliest as usize];
        let temperature = self.sampling.temperature;
        // From here on scores are probabilities relative to the likeliest token's.
        for score in &mut self.scores {
            *score = ((*score - highest) / temperature).exp();
        }
        let Sampling {
            top_k, top_p, min_p, ..
        } = self.sampling;
        self.candidates.clear();
        if top_k == 0 && top_p >= 1.0 {
            self.candidates
                .extend((0..).zip(self.scores.iter().copied()).filter(|&(_, score)| score > 0.0));
        } else {
            self.keep_likeliest(top_k, top_p);
        }
        self.candidates.retain(|&(_, score)| score >= min_p);
        let total: f64 = self.candidates.iter().map(|&(_, score)| f64::from(score)).sum();
        let mut rest = self.random.unit() * total;
        for &(token, score) in &self.candidates {
            rest -= f64::from(score);
            if rest < 0.0 {
                return token;
            }
        }
        // Rounding can leave a little; the last candidate is where the draw fell.
        self.candidates.last().map_or(likeliest, |&(token, _)| token)
    }

    /// Fills `candidates` with the likeliest tokens that satisfy `top_k` and `top_p`, likeliest first.
    fn keep_likeliest(&mut self, top_k: usize, top_p: f32) {
        let most = if top_k == 0 {
            self.scores.len()
        } else {
            top_k.min(self.scores.len())
        };
        let mut wanted = if top_k == 0 { FIRST_CANDIDATES.min(most) } else { most };
        loop {
            self.candidates.clear();
            self.candidates
                .extend((0..).zip(self.scores.iter().copied()).filter(|&(_, score)| score > 0.0));
            keep_highest(&mut self.candidates, wanted);
            // Top-p counts probabilities among what top-k left.
            let total: f64 = if top_k == 0 {
                self.scores.iter().map(|&score| f64::from(score)).sum()
            } else {
                self.candidates.iter().map(|&(_, score)| f64::from(score)).sum()
            };
            let mut sum = 0.0;
            let reached = self.candidates.iter().position(|&(_, score)| {
                sum += f64::from(score);
                sum >= f64::from(top_p) * total
            });
            match reached {
                Some(last) => return self.candidates.truncate(last + 1),
                None if wanted >= most => return,
                None => wanted = (wanted * 4).min(most),
            }
        }
    }
}

/// Log-probabilities under the model itself, before any sampling parameter: of `chosen` and of the `top` likeliest.
#[must_use]
pub fn logprobs(logits: &[f32], chosen: u32, top: usize) -> Logprobs {
    let highest = logits
        .iter()
        .copied()
        .filter(|logit| !logit.is_nan())
        .fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .filter(|logit| !logit.is_nan())
        .map(|&logit| f64::from(logit - highest).exp())
        .sum();
    let normaliser = f64::from(highest) + sum.ln();
    let logprob = |logit: f32| (f64::from(logit) - normaliser) as f32;
    let mut likeliest: Vec<(u32, f32)> = (0..)
        .zip(logits.iter().copied())
        .filter(|(_, logit)| !logit.is_nan())
        .collect();
    keep_highest(&mut likeliest, top);
    Logprobs {
        chosen: logits
            .get(chosen as usize)
            .map_or(f32::NEG_INFINITY, |&logit| logprob(logit)),
        top: likeliest
            .into_iter()
            .map(|(token, logit)| (token, logprob(logit)))
            .collect(),
    }
}

/// The first of the highest scores; `None` if all are minus infinity.
fn likeliest(scores: &[f32]) -> Option<u32> {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &score) in (0..).zip(scores) {
        if score > best.1 {
            best = (token, score);
        }
    }
    (best.1 > f32::NEG_INFINITY).then_some(best.0)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that sorting asks for
fn by_score(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the `count` highest, highest first. Linear in the number of candidates but for sorting what is kept.
fn keep_highest(candidates: &mut Vec<(u32, f32)>, count: usize) {
    if count < candidates.len() {
        if count > 0 {
            candidates.select_nth_unstable_by(count - 1, by_score);
        }
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(by_score);
}

fn check(sampling: &Sampling) -> Result<(), InferenceError> {
    let ranges = [
        ("temperature", sampling.temperature, 0.0..=2.0),
        ("top_p", sampling.top_p, 0.0..=1.0),
        ("min_p", sampling.min_p, 0.0..=1.0),
        ("repetition_penalty", sampling.repetition_penalty, 0.0..=2.0),
        ("presence_penalty", sampling.presence_penalty, -2.0..=2.0),
        ("frequency_penalty", sampling.frequency_penalty, -2.0..=2.0),
    ];
    for (name, value, range) in ranges {
        if !range.contains(&value) {
            let detail = format!(
                "it is {value}, but must lie between {} and {}",
                range.start(),
                range.end()
            );
            return Err(InferenceError::BadParameter { name, detail });
        }
    }
    for (name, value) in [
        ("top_p", sampling.top_p),
        ("repetition_penalty", sampling.repetition_penalty),
    ] {
        if value <= 0.0 {
            return Err(InferenceError::BadParameter {
                name,
                detail: "it must be above 0".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
