#![allow(clippy::unwrap_used)]
use super::*;
use crate::inference::InferenceError;
use rand::{Rng, SeedableRng, rngs::StdRng};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder)
}

fn tiny(architecture: &str) -> Vec<u8> {
    std::fs::read(fixtures("models").join(format!("tiny_{architecture}.gguf"))).unwrap()
}

fn open(bytes: &[u8]) -> Result<Gguf, Fault> {
    Gguf::from_bytes("test.gguf", bytes).map_err(|error| match error {
        GgufError::Invalid { fault, .. } => fault,
        GgufError::Io { .. } => panic!("{error}"),
    })
}

/// Reads everything there is, as a tokenizer and a model would.
fn read_all(gguf: &Gguf) -> usize {
    let metadata = gguf.metadata();
    let keys: Vec<&str> = metadata.keys().collect();
    let mut read = 0;
    for key in keys {
        read += usize::from(metadata.u32(key).is_ok());
        read += usize::from(metadata.u64(key).is_ok());
        read += usize::from(metadata.f32(key).is_ok());
        read += usize::from(metadata.bool(key).is_ok());
        read += metadata.str(key).map_or(0, str::len);
        read += metadata.strings(key).map_or(0, |texts| texts.len());
        read += metadata.i32s(key).map_or(0, |numbers| numbers.len());
        read += metadata.u32s(key).map_or(0, |numbers| numbers.len());
        read += metadata.f32s(key).map_or(0, |numbers| numbers.len());
        read += metadata.bools(key).map_or(0, |values| values.len());
    }
    let bytes: usize = gguf
        .tensor_names()
        .map(|name| gguf.tensor(name).unwrap().bytes.len())
        .sum();
    read + bytes
}

#[test]
fn reads_metadata_and_tensors() {
    let gguf = Gguf::open(fixtures("models").join("tiny_llama.gguf")).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.str("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.u32("llama.block_count").unwrap(), 3);
    assert!((metadata.f32("llama.rope.freq_base").unwrap() - 1e5).abs() < f32::EPSILON);
    assert!(!metadata.bool("tokenizer.ggml.add_bos_token").unwrap());
    let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap();
    let types = metadata.i32s("tokenizer.ggml.token_type").unwrap();
    assert_eq!(tokens.len(), types.len());
    assert_eq!(tokens.last().copied(), Some("<|im_end|>"));
    let table = gguf.tensor("token_embd.weight").unwrap();
    assert_eq!(
        (table.dtype, table.shape),
        (TensorType::F16, [tokens.len(), 64].as_slice())
    );
    assert_eq!(table.bytes.len(), tokens.len() * 64 * 2);
    assert_eq!(gguf.tensor("blk.0.ffn_down.weight").unwrap().shape, [64, 128]);
}

#[test]
fn missing_and_mistyped_keys_are_named() {
    let gguf = open(&tiny("qwen2")).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.optional_u32("no.such.key").unwrap(), None);
    let error = metadata.u32("no.such.key").unwrap_err().to_string();
    assert_eq!(error, "test.gguf: metadata \"no.such.key\" is missing");
    let error = InferenceError::from(metadata.u32("general.name").unwrap_err());
    assert!(matches!(&error, InferenceError::BadModel { path, .. } if path == Path::new("test.gguf")));
    assert!(
        error.to_string().contains("\"general.name\" is a text, a whole number"),
        "{error}"
    );
    assert!(metadata.strings("tokenizer.ggml.token_type").is_err());
    assert!(
        gguf.tensor("no.such.tensor")
            .unwrap_err()
            .to_string()
            .contains("no.such.tensor")
    );
}

#[test]
fn a_missing_file_and_a_folder_are_io_errors() {
    for path in [fixtures("models").join("absent.gguf"), fixtures("models")] {
        assert!(matches!(Gguf::open(&path), Err(GgufError::Io { path: named, .. }) if named == path));
    }
}

/// Every file there is refused with a fault of its own kind, from a mapping and from memory alike.
#[test]
fn hostile_files_are_refused() {
    let index = std::fs::read(fixtures("gguf/hostile").join("INDEX.json")).unwrap();
    let index: Vec<serde_json::Value> = serde_json::from_slice(&index).unwrap();
    assert!(index.len() > 60);
    for entry in index {
        let path = fixtures("gguf/hostile").join(entry["file"].as_str().unwrap());
        let mapped = match Gguf::open(&path) {
            Err(GgufError::Invalid { fault, .. }) => fault,
            other => panic!("{}: {}: {other:?}", path.display(), entry["why"]),
        };
        assert_eq!(open(&std::fs::read(&path).unwrap()).unwrap_err(), mapped);
        let expected = match path.file_stem().unwrap().to_str().unwrap() {
            "version_big_endian" => matches!(mapped, Fault::BigEndian),
            "key_duplicate" => matches!(mapped, Fault::DuplicateKey { .. }),
            "tensor_name_duplicate" => matches!(mapped, Fault::DuplicateTensor { .. }),
            "tensor_dims_0" | "tensor_dims_5" => matches!(mapped, Fault::Dimensions { .. }),
            "tensor_dims_product_overflow" | "tensor_dim_zero" => matches!(mapped, Fault::Shape { .. }),
            "tensor_offset_unaligned" => matches!(mapped, Fault::Misaligned { .. }),
            "tensor_offset_wraps" | "tensor_offset_beyond_file" => matches!(mapped, Fault::OutOfFile { .. }),
            "tensor_row_not_whole_blocks" => matches!(mapped, Fault::Row { .. }),
            "alignment_3" | "alignment_0" => matches!(mapped, Fault::Alignment { .. }),
            "value_bool_2" => matches!(mapped, Fault::Bool { .. }),
            "value_string_not_utf8" => matches!(mapped, Fault::Utf8 { .. }),
            "array_length_max_u8" | "kv_count_max" | "tensor_count_2e63" => matches!(mapped, Fault::Count { .. }),
            _ => true,
        };
        assert!(expected, "{}: {mapped:?}", path.display());
    }
}

/// The hostile files again in a process that may not have 1 GiB: whoever believed a length in them would be killed.
#[cfg(target_os = "linux")]
#[test]
fn hostile_files_cost_no_memory() {
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 1048576; exec \"$0\" --exact --test-threads=1 \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("inference::gguf::tests::hostile_files_are_refused")
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("1 passed"),
        "{status:?}"
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for architecture in ["qwen2", "gemma3"] {
        let bytes = tiny(architecture);
        for part in 0..64 {
            let cut = &bytes[..bytes.len() * part / 64];
            assert!(open(cut).is_err(), "{architecture} cut at {part}/64");
        }
        // The tail of the last tensor is padded at most.
        assert!(open(&bytes[..bytes.len() - 64]).is_err());
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let bytes = tiny("qwen3");
    let header = 12_000.min(bytes.len());
    let mut rng = StdRng::seed_from_u64(20_240_601);
    let (mut refused, mut read) = (0, 0);
    for _ in 0..1500 {
        let mut bytes = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..header);
            bytes[at] = rng.random();
        }
        match open(&bytes) {
            Ok(gguf) => read += read_all(&gguf),
            Err(_) => refused += 1,
        }
    }
    // Most flips hit texts and change nothing but a letter; both ends must have been seen.
    assert!(refused > 50 && read > 0, "{refused} refused, {read} read");
}

/// A file of one tensor, built by hand.
struct Builder {
    pairs: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

impl Builder {
    fn new() -> Self {
        Self {
            pairs: Vec::new(),
            tensors: Vec::new(),
            data: 0,
        }
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs
            .push([&Self::text(key), kind.to_le_bytes().as_slice(), value].concat());
        self
    }

    fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64, bytes: usize) -> Self {
        let mut info = Self::text(name);
        info.extend((dims.len() as u32).to_le_bytes());
        for dim in dims {
            info.extend(dim.to_le_bytes());
        }
        info.extend(kind.to_le_bytes());
        info.extend(offset.to_le_bytes());
        self.tensors.push(info);
        self.data = self.data.max(offset as usize + bytes);
        self
    }

    fn open(self) -> Result<Gguf, Fault> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.pairs.len() as u64).to_le_bytes());
        file.extend(self.pairs.concat());
        file.extend(self.tensors.concat());
        file.resize(file.len().next_multiple_of(32) + self.data, 7);
        open(&file)
    }
}

#[test]
fn unsupported_tensor_types_are_named() {
    let fault = Builder::new().tensor("odd", &[256], 21, 0, 110).open().unwrap_err();
    assert!(matches!(&fault, Fault::TensorType { name, kind, .. } if name == "odd" && kind == "IQ3_S"));
    let fault = Builder::new().tensor("odd", &[256], 5, 0, 110).open().unwrap_err();
    assert!(fault.to_string().contains("number 5"), "{fault}");
}

#[test]
fn tensors_may_not_share_bytes() {
    let two = |second| {
        Builder::new()
            .tensor("a", &[32, 2], 8, 0, 68)
            .tensor("b", &[8], 0, second, 32)
            .open()
    };
    assert!(two(96).is_ok());
    let fault = two(64).unwrap_err();
    assert!(
        matches!(&fault, Fault::Overlap { first, second, .. } if first == "a" && second == "b"),
        "{fault}"
    );
}

#[test]
fn arrays_nest_only_so_deep() {
    // `depth` arrays of one array each around an empty array of bytes.
    let nested = |depth: usize| {
        let mut value = Vec::new();
        for _ in 0..depth {
            value.extend(9u32.to_le_bytes());
            value.extend(1u64.to_le_bytes());
        }
        value.extend(0u32.to_le_bytes());
        value.extend(0u64.to_le_bytes());
        Builder::new().pair("deep", 9, &value).open()
    };
    assert!(nested(3).is_ok());
    assert!(matches!(nested(4), Err(Fault::Depth { .. })));
    assert!(matches!(nested(10_000), Err(Fault::Depth { .. })));
}

#[test]
fn whole_numbers_are_taken_at_any_width() {
    let gguf = Builder::new()
        .pair("u8", 0, &[200])
        .pair("i64", 11, &7i64.to_le_bytes())
        .pair("negative", 5, &(-1i32).to_le_bytes())
        .pair("u64", 10, &u64::MAX.to_le_bytes())
        .pair("nan", 6, &f32::NAN.to_le_bytes())
        .open()
        .unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.u32("u8").unwrap(), 200);
    assert_eq!(metadata.u32("i64").unwrap(), 7);
    assert_eq!(metadata.u64("u64").unwrap(), u64::MAX);
    assert!(metadata.u32("negative").is_err() && metadata.u32("u64").is_err() && metadata.f32("nan").is_err());
}
