#![allow(clippy::unwrap_used)]
use super::*;

fn base() -> Base {
    Base {
        model: "tiny".into(),
        sha256: "aa".into(),
        width: 8,
        layers: 2,
    }
}

fn small() -> Training {
    Training {
        hidden: 16,
        epochs: 30,
        least_steps: 200,
        rate: 5e-3,
        seed: 3,
        ..Training::default()
    }
}

/// Texts of three labels around three directions, every fifth without any of its label's words.
fn examples() -> Vec<(String, Vec<f32>, u32)> {
    const WORDS: [&str; 3] = ["refund the money", "lost my card", "查询快递"];
    (0..90_u32)
        .map(|n| {
            let label = n % 3;
            let noise = |i: u32| ((n * 31 + i * 17) % 13) as f32 / 13.0 - 0.5;
            let numbers = (0..16)
                .map(|i| if i % 8 == label { 2.0 } else { 0.0 } + noise(i))
                .collect();
            let text = if n % 5 == 0 { "?" } else { WORDS[label as usize] };
            (format!("{text} {n}"), numbers, label)
        })
        .collect()
}

fn samples(examples: &[(String, Vec<f32>, u32)]) -> Vec<Sample<'_>> {
    let mut samples = Vec::new();
    for (text, numbers, label) in examples {
        samples.push(Sample {
            text,
            numbers,
            label: *label,
        });
    }
    samples
}

fn labels() -> Vec<String> {
    ["money/refund", "card/lost", "card/track"].map(str::to_owned).to_vec()
}

fn head() -> Head {
    let examples = examples();
    Head::train("intent", labels(), &samples(&examples), base(), small(), &|_| ()).unwrap()
}

#[test]
fn it_learns_what_it_is_shown_and_knows_how_sure_it_may_be() {
    let (head, examples) = (head(), examples());
    let right = (examples.iter())
        .filter(|(text, numbers, label)| head.predict(numbers, text).best == *label as usize)
        .count();
    assert!(right >= 88, "{right}");
    let calibration = head.about().calibration;
    assert_eq!(calibration.n, 90);
    assert!(
        calibration.accuracy > 0.9 && calibration.macro_f1 > 0.9,
        "{calibration:?}"
    );
    // What is like nothing it was shown is not taken for any label.
    let strange = head.predict(&[-1.0; 16], "完全无关");
    assert!(strange.confidence() < head.predict(&examples[1].1, &examples[1].0).confidence());
    assert_eq!(head.about().groups()["card"], [1, 2]);
}

#[test]
fn the_same_seed_gives_the_same_head() {
    let again = || crate::kernels::pool::with_threads(2, head).to_bytes();
    assert!(again() == again());
}

#[test]
fn a_head_comes_back_from_its_file_as_it_was() {
    let head = head();
    let bytes = head.to_bytes();
    let back = Head::from_bytes(&bytes).unwrap();
    assert_eq!(back.about(), head.about());
    for (text, numbers, _) in examples().iter().take(10) {
        let (a, b) = (head.predict(numbers, text), back.predict(numbers, text));
        assert_eq!(a.best, b.best);
        for (a, b) in a.probabilities.iter().zip(&b.probabilities) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}

#[test]
fn a_damaged_file_is_refused_wherever_it_is_damaged() {
    let bytes = head().to_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut other = bytes.clone();
        other[at] ^= 0x20;
        assert!(
            matches!(Head::from_bytes(&other), Err(HeadError::Damaged { .. })),
            "{at}"
        );
        assert!(Head::from_bytes(&bytes[..at]).is_err());
    }
}

#[test]
fn a_head_of_another_model_or_task_is_refused() {
    let head = head();
    assert!(head.check("intent", "aa").is_ok());
    assert!(matches!(head.check("intent", "bb"), Err(HeadError::OtherModel { .. })));
    assert!(matches!(head.check("risk", "aa"), Err(HeadError::OtherTask { .. })));
}

#[test]
fn too_little_and_what_does_not_fit_is_refused() {
    let examples = examples();
    let all = samples(&examples);
    let train = |samples: &[Sample<'_>], labels| Head::train("intent", labels, samples, base(), small(), &|_| ());
    assert!(matches!(train(&[], labels()), Err(HeadError::Examples { .. })));
    assert!(matches!(train(&all[..1], labels()), Err(HeadError::Examples { .. })));
    let odd = [all[0], all[1], Sample { label: 9, ..all[2] }];
    assert!(matches!(train(&odd, labels()), Err(HeadError::Sample { place: 2, .. })));
    let short = [
        all[0],
        Sample {
            numbers: &[1.0],
            ..all[1]
        },
    ];
    assert!(matches!(
        train(&short, labels()),
        Err(HeadError::Sample { place: 1, .. })
    ));
    // Two examples are few, and no fault.
    assert!(train(&all[..2], labels()).is_ok());
}
