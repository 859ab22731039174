//! Gemma 3 (arXiv:2503.19786): of six layers five look back a window only and rotate by another base; query and key
//! heads are normalised, so is what each part adds; `GeGLU`; embeddings are scaled. The converter of llama.cpp has added
//! the 1 of Gemma's normalisation to the weights.

use super::Source;
use super::decoder::{Blueprint, LayerPlan};
use crate::inference::InferenceError;
use crate::inference::gguf::Fault;
use crate::inference::layers::{Activation, Rope, RopeStyle};

pub(super) const ARCHITECTURE: &str = "gemma3";

/// Every this many layers one looks back all the way. Source: the paper, section 2; llama.cpp's default.
const PERIOD: u32 = 6;
/// The base of the layers with a window. Source: the paper, section 2.
const LOCAL_BASE: f32 = 10_000.0;
/// The 27B model scores by the width a head would have by `width / heads`. Source: `query_pre_attn_scalar` of its
/// configuration; llama.cpp knows it by its number of layers.
const LAYERS_OF_27B: usize = 62;

/// The rotation of layers that look back all the way, and of those that do not.
const GLOBAL: usize = 0;
const LOCAL: usize = 1;

pub(super) fn blueprint(source: &Source<'_>) -> Result<Blueprint, InferenceError> {
    let sizes = source.sizes;
    let metadata = source.gguf.metadata();
    let global = sizes.rope(RopeStyle::Halves, None);
    let local_base = metadata
        .optional_f32(&sizes.key("rope.freq_base_swa"))?
        .unwrap_or(LOCAL_BASE);
    let local = Rope::new(RopeStyle::Halves, sizes.rope_dim, local_base, 1.0, None);
    let plain = Blueprint::plain(sizes, global.clone());
    let attention_scale = if sizes.layers == LAYERS_OF_27B {
        1.0 / (sizes.width as f64 / sizes.heads as f64).sqrt()
    } else {
        plain.attention_scale
    };
    let softcap = metadata.optional_f32(&sizes.key("final_logit_softcapping"))?;
    Ok(Blueprint {
        ropes: vec![global, local],
        layers: layers(source)?,
        qk_norm: true,
        post_norms: true,
        activation: Activation::GeluTanh,
        attention_scale,
        embedding_scale: Some((sizes.width as f32).sqrt()),
        logit_softcap: softcap.filter(|cap| *cap > 0.0),
        ..plain
    })
}

fn layers(source: &Source<'_>) -> Result<Vec<LayerPlan>, InferenceError> {
    let sizes = source.sizes;
    let metadata = source.gguf.metadata();
    let key = sizes.key("attention.sliding_window_pattern");
    let bad = |key: &str, detail: String| {
        source.gguf.error(Fault::KeyValue {
            key: key.to_owned(),
            detail,
        })
    };
    let local: Vec<bool> = if metadata.is_array(&key) {
        metadata.bools(&key)?
    } else {
        let period = metadata.optional_u32(&key)?.unwrap_or(PERIOD) as usize;
        if period == 0 {
            return Err(bad(&key, "0 layers are no period".to_owned()).into());
        }
        (0..sizes.layers).map(|layer| layer % period < period - 1).collect()
    };
    if local.len() != sizes.layers {
        return Err(bad(&key, format!("{} entries for {} layers", local.len(), sizes.layers)).into());
    }
    let key = sizes.key("attention.sliding_window");
    let window = metadata.u32(&key)? as usize;
    if window == 0 {
        return Err(bad(&key, "a window of 0 tokens sees nothing".to_owned()).into());
    }
    let plan = |local: bool| LayerPlan {
        window: local.then_some(window),
        rope: if local { LOCAL } else { GLOBAL },
    };
    Ok(local.into_iter().map(plan).collect())
}
