use super::{Sampler, logprobs};
use crate::inference::{InferenceError, Sampling};

const DRAWS: usize = 20_000;

/// Temperature 1 and nothing else.
fn plain() -> Sampling {
    Sampling {
        temperature: 1.0,
        seed: 7,
        ..Sampling::greedy()
    }
}

/// How often each token is drawn from `logits`.
fn counts(sampling: Sampling, logits: &[f32]) -> Vec<usize> {
    let mut sampler = Sampler::new(sampling).unwrap();
    let mut counts = vec![0; logits.len()];
    for _ in 0..DRAWS {
        // Penalties are tested by themselves: what was drawn does not count here.
        sampler.generated.clear();
        counts[sampler.sample(logits, &[]).unwrap() as usize] += 1;
    }
    counts
}

/// Asserts that `counts` come from `probabilities`: every count within five standard deviations (a chance of one in a
/// million and a half for a right sampler, and the seed is fixed).
fn assert_distributed(counts: &[usize], probabilities: &[f64]) {
    for (&count, &probability) in counts.iter().zip(probabilities) {
        let mean = probability * DRAWS as f64;
        let deviation = (mean * (1.0 - probability)).sqrt();
        assert!(
            (count as f64 - mean).abs() <= 5.0 * deviation,
            "{counts:?} for {probabilities:?}"
        );
    }
}

fn logits_of(probabilities: &[f64]) -> Vec<f32> {
    probabilities
        .iter()
        .map(|probability| (probability.ln() + 3.0) as f32)
        .collect()
}

const FOUR: [f64; 4] = [0.1, 0.4, 0.3, 0.2];

#[test]
fn draws_follow_the_probabilities() {
    assert_distributed(&counts(plain(), &logits_of(&FOUR)), &FOUR);
}

#[test]
fn temperature_sharpens_and_flattens() {
    for temperature in [0.5_f32, 2.0] {
        let powers = FOUR.map(|probability| probability.powf(1.0 / f64::from(temperature)));
        let total: f64 = powers.iter().sum();
        let sampling = Sampling { temperature, ..plain() };
        assert_distributed(&counts(sampling, &logits_of(&FOUR)), &powers.map(|power| power / total));
    }
}

#[test]
fn top_k_keeps_the_likeliest() {
    let sampling = Sampling { top_k: 2, ..plain() };
    assert_distributed(&counts(sampling, &logits_of(&FOUR)), &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0]);
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_it() {
    let kept = |top_p| Sampling { top_p, ..plain() };
    assert_distributed(
        &counts(kept(0.65), &logits_of(&FOUR)),
        &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0],
    );
    assert_distributed(
        &counts(kept(0.75), &logits_of(&FOUR)),
        &[0.0, 4.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0],
    );
    assert_distributed(&counts(kept(0.01), &logits_of(&FOUR)), &[0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn top_p_looks_beyond_the_first_candidates() {
    // 1,000 equally likely tokens: half of the mass is the first 500.
    let counts = counts(Sampling { top_p: 0.5, ..plain() }, &[0.0; 1000]);
    let drawn = counts.iter().filter(|&&count| count > 0).count();
    assert!((499..=501).contains(&drawn), "{drawn}");
    assert!(counts[502..].iter().all(|&count| count == 0));
}

#[test]
fn min_p_drops_what_is_unlikely_beside_the_likeliest() {
    let sampling = Sampling { min_p: 0.6, ..plain() };
    assert_distributed(&counts(sampling, &logits_of(&FOUR)), &[0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0]);
}

#[test]
fn greedy_takes_the_likeliest_and_the_lower_id_of_equals() {
    let mut sampler = Sampler::new(Sampling::greedy()).unwrap();
    assert_eq!(sampler.sample(&[0.0, 5.0, 5.0, 1.0], &[]).unwrap(), 1);
    assert_eq!(sampler.sample(&[f32::NAN, -1.0, f32::NEG_INFINITY], &[]).unwrap(), 1);
    assert!(matches!(
        sampler.sample(&[f32::NAN; 3], &[]),
        Err(InferenceError::Compute(_))
    ));
    assert!(sampler.sample(&[], &[]).is_err());
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let draw = |seed| {
        let mut sampler = Sampler::new(Sampling { seed, ..plain() }).unwrap();
        (0..64)
            .map(|_| sampler.sample(&logits_of(&FOUR), &[]).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

#[test]
fn repetition_counts_in_the_window_only_and_pushes_away_from_both_signs() {
    let sampling = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::greedy()
    };
    let mut sampler = Sampler::new(sampling.clone()).unwrap();
    assert_eq!(sampler.sample(&[3.0, 2.0], &[0, 0]).unwrap(), 1);
    assert_eq!(sampler.sample(&[-1.0, -1.5], &[0]).unwrap(), 1);
    let mut long_ago = vec![0];
    long_ago.extend([1; super::REPETITION_WINDOW]);
    assert_eq!(
        Sampler::new(sampling).unwrap().sample(&[3.0, 2.0], &long_ago).unwrap(),
        0
    );
}

#[test]
fn presence_and_frequency_count_what_was_generated() {
    let mut presence = Sampler::new(Sampling {
        presence_penalty: 0.5,
        ..Sampling::greedy()
    })
    .unwrap();
    let logits = [1.0, 0.8];
    // The prompt does not count; each token once, however often.
    let tokens: Vec<u32> = (0..4).map(|_| presence.sample(&logits, &[0, 0, 0]).unwrap()).collect();
    assert_eq!(tokens, [0, 1, 0, 0]);
    let mut frequency = Sampler::new(Sampling {
        frequency_penalty: 0.5,
        ..Sampling::greedy()
    })
    .unwrap();
    let tokens: Vec<u32> = (0..4).map(|_| frequency.sample(&logits, &[]).unwrap()).collect();
    assert_eq!(tokens, [0, 1, 0, 1]);
}

#[test]
fn logprobs_are_the_logarithms_of_the_softmax() {
    let found = logprobs(&logits_of(&FOUR), 3, 2);
    let close = |a: f32, b: f64| (f64::from(a) - b.ln()).abs() < 1e-5;
    assert!(close(found.chosen, 0.2));
    assert_eq!(found.top.iter().map(|&(token, _)| token).collect::<Vec<_>>(), [1, 2]);
    assert!(close(found.top[0].1, 0.4) && close(found.top[1].1, 0.3));
    assert!(logprobs(&logits_of(&FOUR), 0, 0).top.is_empty());
    assert_eq!(logprobs(&logits_of(&FOUR), 0, 9).top.len(), 4);
}

#[test]
fn parameters_out_of_range_are_named() {
    let broken = [
        (
            "temperature",
            Sampling {
                temperature: f32::NAN,
                ..plain()
            },
        ),
        (
            "temperature",
            Sampling {
                temperature: -0.1,
                ..plain()
            },
        ),
        (
            "temperature",
            Sampling {
                temperature: 2.1,
                ..plain()
            },
        ),
        ("top_p", Sampling { top_p: 0.0, ..plain() }),
        ("top_p", Sampling { top_p: 1.1, ..plain() }),
        (
            "min_p",
            Sampling {
                min_p: f32::INFINITY,
                ..plain()
            },
        ),
        (
            "repetition_penalty",
            Sampling {
                repetition_penalty: 0.0,
                ..plain()
            },
        ),
        (
            "presence_penalty",
            Sampling {
                presence_penalty: 3.0,
                ..plain()
            },
        ),
        (
            "frequency_penalty",
            Sampling {
                frequency_penalty: f32::NAN,
                ..plain()
            },
        ),
    ];
    for (expected, sampling) in broken {
        match Sampler::new(sampling) {
            Err(InferenceError::BadParameter { name, .. }) => assert_eq!(name, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
