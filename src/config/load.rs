//! Defaults, then the file, then the environment, then flags. The only place that reads the environment.

use super::{Config, DEFAULT_TOML, Secret, ServerConfig, StorageConfig};
use std::path::{Path, PathBuf};

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("settings file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown key or a value of the wrong type.
    #[error("settings ({origin}): {detail}")]
    Parse {
        /// The file, or the environment's variable.
        origin: String,
        /// Line, column and reason.
        detail: String,
    },
    /// Values out of range, all of them.
    #[error("settings: {}", .0.join("; "))]
    Invalid(Vec<String>),
}

/// What flags say; each wins over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config FILE`
    pub file: Option<PathBuf>,
    /// `--listen ADDRESS`
    pub listen: Option<String>,
    /// `--model NAME`
    pub language_model: Option<String>,
}

/// Loads the settings.
///
/// # Errors
/// [`ConfigError`]; an invalid combination names every fault at once.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
    load_from(overrides, std::env::vars())
}

/// Whether the environment names a proxy for outgoing requests, as the usual clients read it.
#[must_use]
pub fn proxied() -> bool {
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

/// The key of the model server, where the settings name one.
///
/// # Errors
/// A variable that is not set, a file that cannot be read, an empty key.
pub fn server_key(server: &ServerConfig) -> Result<Option<Secret>, ConfigError> {
    secret("inference.server.api_key", &server.api_key_env, &server.api_key_file)
}

/// The password of the database server, where the settings name one.
///
/// # Errors
/// A variable that is not set, a file that cannot be read, an empty password.
pub fn storage_password(storage: &StorageConfig) -> Result<Option<Secret>, ConfigError> {
    secret("storage.password", &storage.password_env, &storage.password_file)
}

/// What stands in the variable `env` or in the file `file`, the first that is named; `key` is how the settings call it, without `_env`.
fn secret(key: &str, env: &str, file: &str) -> Result<Option<Secret>, ConfigError> {
    let invalid = |text: String| ConfigError::Invalid(vec![text]);
    let value = if !env.is_empty() {
        std::env::var(env).map_err(|_| invalid(format!("{key}_env: {env} is not set")))?
    } else if !file.is_empty() {
        let path = PathBuf::from(file);
        std::fs::read_to_string(&path).map_err(|source| ConfigError::Io { path, source })?
    } else {
        return Ok(None);
    };
    match value.trim() {
        "" => Err(invalid(format!("{key}_env or {key}_file: it is empty"))),
        value => Ok(Some(Secret::new(value.to_owned()))),
    }
}

/// A variable of the environment, without white space around it; `None` where it is not set or empty.
pub(super) fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn load_from(
    overrides: &Overrides,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut table: toml::Table = DEFAULT_TOML.parse().map_err(|e| parse_error("defaults", &e))?;
    if let Some(path) = &overrides.file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Io {
            path: path.clone(),
            source,
        })?;
        let file: toml::Table = text.parse().map_err(|e| parse_error(&path.display().to_string(), &e))?;
        merge(&mut table, file, path)?;
    }
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix("KEFU_") else {
            continue;
        };
        let Some((room, key)) = rest.split_once("__") else {
            continue;
        };
        set(&mut table, &room.to_lowercase(), &key.to_lowercase(), &value, &name)?;
    }
    let mut config: Config = table.try_into().map_err(|e| parse_error("merged", &e))?;
    if let Some(listen) = &overrides.listen {
        config.http.listen.clone_from(listen);
    }
    if let Some(name) = &overrides.language_model {
        config.inference.language_model.clone_from(name);
    }
    let faults = super::validate::faults(&config);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Invalid(faults))
    }
}

fn parse_error(origin: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Parse {
        origin: origin.to_owned(),
        detail: error.to_string().trim().to_owned(),
    }
}

/// Lays `file` over `table`. Sections and keys that the defaults do not have are refused, so that a slip of the pen
/// does not leave a limit at its default.
fn merge(table: &mut toml::Table, file: toml::Table, path: &Path) -> Result<(), ConfigError> {
    for (room, values) in file {
        let unknown = |detail: String| ConfigError::Parse {
            origin: path.display().to_string(),
            detail,
        };
        let Some(toml::Value::Table(known)) = table.get_mut(&room) else {
            return Err(unknown(format!("unknown section [{room}]")));
        };
        let toml::Value::Table(values) = values else {
            return Err(unknown(format!("[{room}] must be a section")));
        };
        // Tools have names of their own; what each may say is checked when it is read.
        if room == "tools" {
            known.extend(values);
            continue;
        }
        for (key, value) in values {
            if !known.contains_key(&key) {
                return Err(unknown(format!("unknown key {key} in [{room}]")));
            }
            // A section within the section is laid over key by key, as the section is.
            match (known.get_mut(&key), value) {
                (Some(toml::Value::Table(inner)), toml::Value::Table(values)) => {
                    for (name, value) in values {
                        if !inner.contains_key(&name) {
                            return Err(unknown(format!("unknown key {name} in [{room}.{key}]")));
                        }
                        inner.insert(name, value);
                    }
                }
                (_, value) => {
                    known.insert(key, value);
                }
            }
        }
    }
    Ok(())
}

/// Sets one key from the environment, read as the type that the default has.
fn set(table: &mut toml::Table, room: &str, key: &str, text: &str, name: &str) -> Result<(), ConfigError> {
    let fault = |detail: &str| ConfigError::Parse {
        origin: name.to_owned(),
        detail: detail.to_owned(),
    };
    let Some(toml::Value::Table(known)) = table.get_mut(room) else {
        return Err(fault("there is no such section"));
    };
    if let Some((section, key)) = key.split_once("__") {
        return set(known, section, key, text, name);
    }
    let Some(present) = known.get(key) else {
        return Err(fault("there is no such key"));
    };
    let value = match present {
        toml::Value::String(_) => toml::Value::String(text.to_owned()),
        toml::Value::Integer(_) => toml::Value::Integer(text.parse().map_err(|_| fault("a whole number is needed"))?),
        toml::Value::Float(_) => toml::Value::Float(text.parse().map_err(|_| fault("a number is needed"))?),
        toml::Value::Boolean(_) => toml::Value::Boolean(text.parse().map_err(|_| fault("true or false is needed"))?),
        toml::Value::Array(_) => toml::Value::Array(
            text.split(',')
                .map(|part| toml::Value::String(part.trim().to_owned()))
                .collect(),
        ),
        _ => return Err(fault("this key cannot be set from the environment")),
    };
    known.insert(key.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, Overrides, load_from};

    fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[http]\nlisten = \"127.0.0.1:1\"\nmax_connections = 7\n").unwrap();
        let mut overrides = Overrides {
            file: Some(file.path().to_owned()),
            ..Overrides::default()
        };
        let config = load_from(&overrides, environment(&[("KEFU_HTTP__LISTEN", "127.0.0.1:2")])).unwrap();
        assert_eq!(
            (config.http.listen.as_str(), config.http.max_connections),
            ("127.0.0.1:2", 7)
        );
        overrides.listen = Some("127.0.0.1:3".to_owned());
        let config = load_from(&overrides, environment(&[("KEFU_HTTP__LISTEN", "127.0.0.1:2")])).unwrap();
        assert_eq!(config.http.listen, "127.0.0.1:3");
    }

    #[test]
    fn unknown_keys_and_every_bad_value_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[http]\nlissen = 1\n").unwrap();
        let overrides = Overrides {
            file: Some(file.path().to_owned()),
            ..Overrides::default()
        };
        let error = load_from(&overrides, environment(&[])).unwrap_err().to_string();
        assert!(error.contains("lissen"), "{error}");

        let bad = environment(&[("KEFU_HTTP__LISTEN", "nowhere"), ("KEFU_INFERENCE__QUEUE_LENGTH", "0")]);
        let Err(ConfigError::Invalid(faults)) = load_from(&Overrides::default(), bad) else {
            panic!()
        };
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn sections_within_sections_are_laid_over_key_by_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[inference]\nserver = { url = \"http://10.0.0.7\", timeout_ms = 7 }\n";
        std::fs::write(file.path(), text).unwrap();
        let overrides = Overrides {
            file: Some(file.path().to_owned()),
            ..Overrides::default()
        };
        let config = load_from(&overrides, environment(&[("KEFU_INFERENCE__SERVER__MODEL", "m")])).unwrap();
        let server = &config.inference.server;
        assert_eq!(
            (server.url.as_str(), server.model.as_str(), server.timeout_ms),
            ("http://10.0.0.7", "m", 7)
        );
        assert_eq!(
            server.connect_timeout_ms,
            super::ServerConfig::default().connect_timeout_ms
        );

        std::fs::write(file.path(), "[inference.server]\nulr = \"x\"\n").unwrap();
        let error = load_from(&overrides, environment(&[])).unwrap_err().to_string();
        assert!(error.contains("ulr") && error.contains("inference.server"), "{error}");
        let without_model = environment(&[("KEFU_INFERENCE__SERVER__URL", "http://10.0.0.7")]);
        let error = load_from(&Overrides::default(), without_model).unwrap_err().to_string();
        assert!(error.contains("inference.server.model"), "{error}");
    }

    #[test]
    fn tools_have_names_of_their_own_and_known_keys() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let overrides = Overrides {
            file: Some(file.path().to_owned()),
            ..Overrides::default()
        };
        std::fs::write(
            file.path(),
            "[tools.bill]\nurl = \"http://10.0.0.7/bill\"\ntimeout_ms = 7\n",
        )
        .unwrap();
        let config = load_from(&overrides, environment(&[])).unwrap();
        assert_eq!(config.tools["bill"].timeout_ms, 7);
        assert_eq!(config.tools["bill"].method, "POST");
        std::fs::write(
            file.path(),
            "[tools.bill]\nurl = \"10.0.0.7\"\nmethod = \"PUT\"\n[tools.x]\nkind = \"business_hours\"\ndays = [8]\n",
        )
        .unwrap();
        let Err(ConfigError::Invalid(faults)) = load_from(&overrides, environment(&[])) else {
            panic!()
        };
        assert_eq!(faults.len(), 3, "{faults:?}");
        std::fs::write(file.path(), "[tools.bill]\nulr = \"x\"\n").unwrap();
        let error = load_from(&overrides, environment(&[])).unwrap_err().to_string();
        assert!(error.contains("ulr"), "{error}");
    }

    #[test]
    fn the_defaults_of_the_server_stand_in_one_place_and_in_the_file() {
        let config = load_from(&Overrides::default(), environment(&[])).unwrap();
        assert_eq!(config.inference.server, super::ServerConfig::default());
    }

    #[test]
    fn the_key_comes_from_where_the_settings_say() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-1\n").unwrap();
        let mut server = super::ServerConfig::default();
        assert_eq!(super::server_key(&server).unwrap(), None);
        server.api_key_file = file.path().display().to_string();
        assert_eq!(super::server_key(&server).unwrap().unwrap().reveal(), "sk-1");
        std::fs::write(file.path(), " \n").unwrap();
        assert!(super::server_key(&server).is_err());
        server.api_key_env = "KEFU_TEST_NO_SUCH_VARIABLE".to_owned();
        assert!(
            super::server_key(&server)
                .unwrap_err()
                .to_string()
                .contains("KEFU_TEST_NO_SUCH_VARIABLE")
        );
    }

    #[test]
    fn the_embedded_database_is_the_default_and_a_password_has_a_place_of_its_own() {
        let config = load_from(&Overrides::default(), environment(&[])).unwrap();
        assert!(config.storage.url.is_empty());
        assert_eq!(super::storage_password(&config.storage).unwrap(), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let path = file.path().display().to_string();
        let settings = [
            ("KEFU_STORAGE__URL", "postgres://kefu@10.0.0.7/kefu"),
            ("KEFU_STORAGE__PASSWORD_FILE", path.as_str()),
        ];
        let config = load_from(&Overrides::default(), environment(&settings)).unwrap();
        let password = super::storage_password(&config.storage).unwrap().unwrap();
        assert_eq!(password.reveal(), "s3cret");
        assert!(config.clone().with_embedded_database().storage.url.is_empty());
        for bad in [
            ("KEFU_STORAGE__URL", "mysql://x"),
            ("KEFU_STORAGE__MAX_CONNECTIONS", "1"),
        ] {
            let bad = [bad];
            let error = load_from(&Overrides::default(), environment(&bad))
                .unwrap_err()
                .to_string();
            assert!(error.contains("storage."), "{error}");
        }
    }

    #[test]
    fn a_device_must_be_one_and_in_this_program() {
        let faults = |device: &str| match load_from(
            &Overrides::default(),
            environment(&[("KEFU_INFERENCE__DEVICE", device)]),
        ) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(faults("cpu"), "");
        assert!(faults("gpu").contains("inference.device must be"));
        assert_eq!(
            faults("cuda:1").contains("scripts/build-cuda.sh"),
            !cfg!(feature = "cuda")
        );
    }

    #[test]
    fn an_open_address_needs_a_proxy() {
        let open = environment(&[("KEFU_HTTP__LISTEN", "0.0.0.0:80")]);
        assert!(load_from(&Overrides::default(), open).is_err());
    }
}
