//! Secrets that come by file, and the seal key that `up` makes for itself.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use super::{
    Mistake,
    check::{Places, mistake},
    settings::Settings,
};
use crate::{seal::SealKeys, telemetry::chain, tls::Authorities};

/// Puts passwords that come by file into their URLs, and reads the seal keys.
pub(super) fn read(
    settings: &mut Settings,
    places: &Places,
    mistakes: &mut Vec<Mistake>,
) -> Option<SealKeys> {
    let passwords = [
        ("database_password_file", database_password(settings)),
        ("bus_password_file", bus_password(settings)),
    ];
    mistakes.extend(passwords.into_iter().filter_map(|(f, r)| Some(mistake(places, f, r.err()?))));
    seal_keys(settings)
        .map_err(|(field, what)| mistakes.push(mistake(places, field, what)))
        .unwrap_or_default()
}

/// The certificate authorities that are trusted beside the system's.
pub(super) fn authorities(settings: &Settings, places: &Places, mistakes: &mut Vec<Mistake>) -> Authorities {
    let Some(file) = &settings.ca_file else { return Authorities::default() };
    Authorities::read(file).unwrap_or_else(|error| {
        mistakes.push(mistake(places, "ca_file", chain(&error)));
        Authorities::default()
    })
}

fn secret_of(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(secret.to_owned()) }
}

fn database_password(settings: &mut Settings) -> Result<(), String> {
    let Some(file) = &settings.database_password_file else { return Ok(()) };
    let url = settings.database.as_mut().ok_or("there is no database URL that it belongs to")?;
    url.set_password(&secret_of(file)?)
}

fn bus_password(settings: &mut Settings) -> Result<(), String> {
    let Some(file) = &settings.bus_password_file else { return Ok(()) };
    let url = settings.bus.as_mut().ok_or("there is no bus URL that it belongs to")?;
    url.set_password(&secret_of(file)?)
}

fn seal_keys(settings: &Settings) -> Result<Option<SealKeys>, (&'static str, String)> {
    let (field, text) = match (&settings.seal_key, &settings.seal_key_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(("seal_key_file", "seal_key is given too; give one of them".to_owned()));
        }
        (Some(key), None) => ("seal_key", key.reveal().to_owned()),
        (None, Some(file)) => ("seal_key_file", secret_of(file).map_err(|e| ("seal_key_file", e))?),
    };
    SealKeys::parse(&text).map(Some).map_err(|e| (field, e.to_string()))
}

/// The seal keys of `up`: those of `{data}/seal.key`, which is made when it is not there. Makes the folder too.
///
/// # Errors
/// The folder or the file cannot be made or read, or the file holds no key.
pub fn make_seal_keys(data: &Path) -> io::Result<SealKeys> {
    fs::create_dir_all(data)?;
    let file = data.join("seal.key");
    if !file.try_exists()? {
        // Whole or not at all, and readable by nobody else, which is how tempfile makes files.
        let mut new = tempfile::NamedTempFile::new_in(data)?;
        writeln!(new, "{}", SealKeys::generate())?;
        new.as_file().sync_all()?;
        match new.persist_noclobber(&file) {
            Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => return Err(e.error),
            Ok(_) | Err(_) => {}
        }
    }
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", file.display()));
    SealKeys::parse(&fs::read_to_string(&file)?).map_err(invalid)
}
