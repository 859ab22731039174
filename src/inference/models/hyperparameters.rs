//! The sizes of a model, from its metadata. Every number is checked before anything is made of it.

use crate::inference::InferenceError;
use crate::inference::gguf::{Fault, Gguf, Metadata};
use crate::inference::layers::{Rope, RopeStyle};

/// More layers than any published model.
const MAX_LAYERS: u32 = 1024;
/// Wider than any published model.
const MAX_WIDTH: u32 = 1 << 18;
/// Beyond any published context, and far below where a position stops being exact.
const MAX_CONTEXT: u32 = 1 << 24;

/// Sizes that every architecture states under the same keys, prefixed with its name.
#[derive(Clone, Debug)]
pub(super) struct Hyperparameters {
    /// The prefix.
    pub(super) architecture: String,
    pub(super) layers: usize,
    /// Numbers in a token's state.
    pub(super) width: usize,
    pub(super) feed_forward: usize,
    pub(super) heads: usize,
    /// Divides `heads`.
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    /// Numbers of a head that are rotated; even, at most `head_dim`.
    pub(super) rope_dim: usize,
    pub(super) rope_base: f32,
    /// What positions are divided by.
    pub(super) rope_stretch: f32,
    pub(super) epsilon: f32,
    /// Tokens it was trained on.
    pub(super) context: usize,
}

impl Hyperparameters {
    pub(super) fn read(gguf: &Gguf, architecture: &str) -> Result<Self, InferenceError> {
        let reader = Reader {
            metadata: gguf.metadata(),
            architecture,
        };
        let width = reader.size("embedding_length", MAX_WIDTH)?;
        let heads = reader.size("attention.head_count", MAX_WIDTH)?;
        let kv_heads = reader
            .optional_size("attention.head_count_kv", MAX_WIDTH)?
            .unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(reader.fault(
                "attention.head_count_kv",
                format!("{kv_heads} does not divide {heads} heads"),
            ));
        }
        let head_dim = reader
            .optional_size("attention.key_length", MAX_WIDTH)?
            .unwrap_or(width / heads);
        let value_dim = reader
            .optional_size("attention.value_length", MAX_WIDTH)?
            .unwrap_or(head_dim);
        if value_dim != head_dim || head_dim == 0 {
            let detail = format!("values of {value_dim} numbers beside keys of {head_dim} are not supported");
            return Err(reader.fault("attention.value_length", detail));
        }
        let rope_dim = reader
            .optional_size("rope.dimension_count", MAX_WIDTH)?
            .unwrap_or(head_dim);
        if rope_dim > head_dim || !rope_dim.is_multiple_of(2) {
            let detail = format!("{rope_dim} is not an even number up to {head_dim}");
            return Err(reader.fault("rope.dimension_count", detail));
        }
        Ok(Self {
            architecture: architecture.to_owned(),
            layers: reader.size("block_count", MAX_LAYERS)?,
            width,
            feed_forward: reader.size("feed_forward_length", MAX_WIDTH)?,
            heads,
            kv_heads,
            head_dim,
            rope_dim,
            // llama.cpp's default where a file does not state it.
            rope_base: reader.optional_positive("rope.freq_base")?.unwrap_or(10_000.0),
            rope_stretch: reader.rope_stretch()?,
            epsilon: reader.positive("attention.layer_norm_rms_epsilon")?,
            context: reader.size("context_length", MAX_CONTEXT)?,
        })
    }

    /// The rotation these sizes describe.
    pub(super) fn rope(&self, style: RopeStyle, factors: Option<&[f32]>) -> Rope {
        Rope::new(style, self.rope_dim, self.rope_base, self.rope_stretch, factors)
    }

    /// The full name of a key.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}

struct Reader<'a> {
    metadata: Metadata<'a>,
    architecture: &'a str,
}

impl Reader<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn fault(&self, key: &str, detail: String) -> InferenceError {
        let key = self.key(key);
        self.metadata.error(Fault::KeyValue { key, detail }).into()
    }

    /// A number from 1 to `most`.
    fn size(&self, key: &str, most: u32) -> Result<usize, InferenceError> {
        let value = self.metadata.u32(&self.key(key))?;
        self.within(key, value, most)
    }

    fn optional_size(&self, key: &str, most: u32) -> Result<Option<usize>, InferenceError> {
        let value = self.metadata.optional_u32(&self.key(key))?;
        value.map(|value| self.within(key, value, most)).transpose()
    }

    fn within(&self, key: &str, value: u32, most: u32) -> Result<usize, InferenceError> {
        if (1..=most).contains(&value) {
            Ok(value as usize)
        } else {
            Err(self.fault(key, format!("{value} is not within 1 to {most}")))
        }
    }

    fn positive(&self, key: &str) -> Result<f32, InferenceError> {
        let value = self.metadata.f32(&self.key(key))?;
        self.above_zero(key, value)
    }

    fn optional_positive(&self, key: &str) -> Result<Option<f32>, InferenceError> {
        let value = self.metadata.optional_f32(&self.key(key))?;
        value.map(|value| self.above_zero(key, value)).transpose()
    }

    fn above_zero(&self, key: &str, value: f32) -> Result<f32, InferenceError> {
        if value > 0.0 {
            Ok(value)
        } else {
            Err(self.fault(key, format!("{value} is not above 0")))
        }
    }

    /// Linear scaling of positions, under its present and its former key; other kinds would give wrong answers.
    fn rope_stretch(&self) -> Result<f32, InferenceError> {
        let former = self.optional_positive("rope.scale_linear")?;
        match self.metadata.optional_str(&self.key("rope.scaling.type"))? {
            None => Ok(former.unwrap_or(1.0)),
            Some("none") => Ok(1.0),
            Some("linear") => {
                let factor = self.optional_positive("rope.scaling.factor")?;
                Ok(factor.or(former).unwrap_or(1.0))
            }
            Some(kind) => {
                let detail = format!("{kind:?} is not supported (none and linear are)");
                Err(self.fault("rope.scaling.type", detail))
            }
        }
    }
}
