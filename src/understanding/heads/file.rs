//! How a head is kept: `KFH1`, a version, what it is as JSON, its weights, and a checksum over all of that.
//!
//! Little-endian throughout: magic `KFH1`, u32 version, u32 length and JSON ([`About`]), u32 hidden units, u32 grams; the means in
//! f32; for each hidden unit and then for each label a row (f32 bias, f32 scale, i8 numbers); for each gram u64 hash, f32 weight of
//! the gram, f32 scale, i8 number of each label; SHA-256 of everything before.

use super::lexicon::Lexicon;
use super::network::{Network, Rounded, Rows};
use super::{About, Head, HeadError, MAX_LABELS};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 4] = b"KFH1";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;
/// Bounds of what a file may say, far above what is ever trained.
const MAX_HIDDEN: usize = 1 << 16;
const MAX_GRAMS: usize = 1 << 22;

/// The head whose weights are those that a file keeps.
pub(super) fn rounded(about: About, network: &Network) -> Head {
    let back = |rows: &Rows| Rows::of(rows.width, rows.rounded());
    let network = Network {
        hidden: back(&network.hidden),
        output: back(&network.output),
        grams: back(&network.grams),
        ..network.clone()
    };
    Head { about, network }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HeadError> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| damaged("it ends too soon"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn count(&mut self, most: usize, what: &str) -> Result<usize, HeadError> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count > most {
            return Err(damaged(&format!("{what}: {count}, at most {most} are possible")));
        }
        Ok(count)
    }

    fn f32(&mut self) -> Result<f32, HeadError> {
        let number = f32::from_le_bytes(self.array()?);
        if number.is_finite() {
            Ok(number)
        } else {
            Err(damaged("a number is not finite"))
        }
    }

    fn row(&mut self, width: usize) -> Result<Rounded, HeadError> {
        let scale = self.f32()?;
        let numbers = self.take(width)?.iter().map(|byte| byte.cast_signed()).collect();
        Ok(Rounded { scale, numbers })
    }
}

fn damaged(detail: &str) -> HeadError {
    HeadError::Damaged {
        detail: detail.to_owned(),
    }
}

fn put_row(out: &mut Vec<u8>, row: &Rounded) {
    out.extend(row.scale.to_le_bytes());
    out.extend(row.numbers.iter().map(|x| x.cast_unsigned()));
}

impl Head {
    /// The head as a file keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let network = &self.network;
        let about = serde_json::to_vec(&self.about).unwrap_or_default();
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((about.len() as u32).to_le_bytes());
        out.extend(about);
        out.extend((network.hidden_bias.len() as u32).to_le_bytes());
        out.extend((network.lexicon.hashes.len() as u32).to_le_bytes());
        out.extend(network.means.iter().flat_map(|x| x.to_le_bytes()));
        for (rows, biases) in [
            (&network.hidden, &network.hidden_bias),
            (&network.output, &network.output_bias),
        ] {
            for (row, bias) in rows.rounded().zip(biases) {
                out.extend(bias.to_le_bytes());
                put_row(&mut out, &row);
            }
        }
        let grams = network.lexicon.hashes.iter().zip(&network.lexicon.idf);
        for ((hash, idf), row) in grams.zip(network.grams.rounded()) {
            out.extend(hash.to_le_bytes());
            out.extend(idf.to_le_bytes());
            put_row(&mut out, &row);
        }
        let checksum = Sha256::digest(&out);
        out.extend(checksum);
        out
    }

    /// The head that a file keeps. Nothing is allocated beyond what the file holds.
    ///
    /// # Errors
    /// [`HeadError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeadError> {
        let body = bytes.len().saturating_sub(CHECKSUM);
        let (body, checksum) = bytes.split_at(body);
        if !body.starts_with(MAGIC) {
            return Err(damaged("it does not begin with KFH1"));
        }
        let mut file = Cursor(&body[MAGIC.len()..]);
        let version = u32::from_le_bytes(file.array()?);
        if version != VERSION {
            return Err(damaged(&format!("its version is {version}, expected {VERSION}")));
        }
        if Sha256::digest(body).as_slice() != checksum {
            return Err(damaged("its checksum is wrong"));
        }
        let length = file.count(body.len(), "bytes of its description")?;
        let about: About = serde_json::from_slice(file.take(length)?).map_err(|error| damaged(&error.to_string()))?;
        let (labels, block) = (about.labels.len(), about.base.width);
        let width = block
            .checked_mul(about.base.layers)
            .filter(|width| (1..=1 << 20).contains(width));
        let width = width.ok_or_else(|| damaged("the numbers of a text"))?;
        let calibration = &about.calibration;
        if !(2..=MAX_LABELS).contains(&labels)
            || about.examples.len() != labels
            || !(calibration.temperature.is_finite() && calibration.temperature > 0.0)
        {
            return Err(damaged("its labels or its temperature make no sense"));
        }
        let units = file.count(MAX_HIDDEN, "hidden units")?;
        let grams = file.count(MAX_GRAMS, "grams")?;
        let means = (0..width).map(|_| file.f32()).collect::<Result<Vec<f32>, _>>()?;
        let mut rows = |count: usize, width: usize| {
            let mut biases = Vec::new();
            let mut rows = Vec::new();
            for _ in 0..count {
                biases.push(file.f32()?);
                rows.push(file.row(width)?);
            }
            Ok::<_, HeadError>((Rows::of(width, rows.into_iter()), biases))
        };
        let (hidden, hidden_bias) = rows(units, width)?;
        let (output, output_bias) = rows(labels, units)?;
        let mut lexicon = Lexicon::default();
        let mut words = Vec::new();
        for _ in 0..grams {
            let hash = u64::from_le_bytes(file.array()?);
            if lexicon.hashes.last().is_some_and(|last| *last >= hash) {
                return Err(damaged("its grams are not in order"));
            }
            lexicon.hashes.push(hash);
            lexicon.idf.push(file.f32()?);
            words.push(file.row(labels)?);
        }
        if !file.0.is_empty() {
            return Err(damaged("there is more in it than there should be"));
        }
        let network = Network {
            means,
            block,
            hidden,
            hidden_bias,
            output,
            output_bias,
            lexicon,
            grams: Rows::of(labels, words.into_iter()),
        };
        Ok(Self { about, network })
    }
}
