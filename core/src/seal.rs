//! Credentials in requests are sealed before a body is stored anywhere or sent on.
//!
//! A sealed credential takes the place of `user:token` as `sealed:{text}`, so that a sealed body still reads as a request.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit,
    aead::{Aead, AeadCore, OsRng},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::params::{Ppa, PpaCredentials};

const NONCE_LENGTH: usize = 12;
const MARK: &str = "sealed";

/// The keys that seal credentials: the first seals, all of them open. Prints as `***`.
#[derive(Clone)]
pub struct SealKeys(Vec<Key>);

/// What is wrong with a key or a sealed text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The key's text is not one or more lines of 64 hex digits.
    #[error("a seal key is 64 hex digits, one key a line, the newest first (openssl rand -hex 32 makes one)")]
    BadKey,
    /// No key opens the text.
    #[error(
        "none of the seal keys opens this request's credentials: give this role the keys that the others have"
    )]
    WrongKey,
}

impl std::fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl SealKeys {
    /// Reads keys: 64 hex digits a line, the newest first.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let keys: Vec<Key> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let bytes: [u8; 32] =
                    hex::decode(line).ok().and_then(|b| b.try_into().ok()).ok_or(SealError::BadKey)?;
                Ok(bytes.into())
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(SealError::BadKey) } else { Ok(Self(keys)) }
    }

    /// A new key, as the text that [`SealKeys::parse`] reads.
    pub fn generate() -> String {
        hex::encode(ChaCha20Poly1305::generate_key(&mut OsRng))
    }

    /// The credentials as they are stored: `sealed:{text}`.
    pub fn seal(&self, credentials: &PpaCredentials) -> PpaCredentials {
        let nonce = ChaCha20Poly1305::generate_nonce(&mut OsRng);
        let cipher = ChaCha20Poly1305::new(&self.0[0]);
        let Ok(sealed) = cipher.encrypt(&nonce, credentials.reveal().as_bytes()) else {
            unreachable!("a text of a few KiB can always be sealed")
        };
        let token = BASE64_URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat());
        PpaCredentials { user: MARK.to_owned(), token }
    }

    /// The credentials as their sender gave them.
    pub fn open(&self, credentials: &PpaCredentials) -> Result<PpaCredentials, SealError> {
        if credentials.user != MARK {
            return Err(SealError::WrongKey);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&credentials.token).map_err(|_| SealError::WrongKey)?;
        if bytes.len() < NONCE_LENGTH {
            return Err(SealError::WrongKey);
        }
        let (nonce, sealed) = bytes.split_at(NONCE_LENGTH);
        let open = |key| ChaCha20Poly1305::new(key).decrypt(nonce.into(), sealed).ok();
        let text = self.0.iter().find_map(open).ok_or(SealError::WrongKey)?;
        let text = String::from_utf8(text).map_err(|_| SealError::WrongKey)?;
        let (user, token) = text.split_once(':').ok_or(SealError::WrongKey)?;
        Ok(PpaCredentials { user: user.to_owned(), token: token.to_owned() })
    }

    /// What stands for credentials in a request's identity.
    pub fn keyed_hash(&self, credentials: &PpaCredentials) -> String {
        let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(&self.0[0]) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(credentials.reveal().as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// The PPA with its credentials opened.
    pub fn open_ppa(&self, ppa: &Ppa) -> Result<Ppa, SealError> {
        let credentials = ppa.credentials.as_ref().map(|c| self.open(c)).transpose()?;
        Ok(Ppa { credentials, ..ppa.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ppa() -> Ppa {
        "joe:s3cret@owner/name:ABCD".parse().unwrap()
    }

    #[test]
    fn a_sealed_ppa_still_reads_as_one_and_opens() {
        let keys = SealKeys::parse(&SealKeys::generate()).unwrap();
        let sealed = Ppa { credentials: ppa().credentials.map(|c| keys.seal(&c)), ..ppa() };
        assert!(!sealed.reveal().contains("s3cret"));
        let read: Ppa = sealed.reveal().parse().unwrap();
        assert_eq!(keys.open_ppa(&read).unwrap(), ppa());
    }

    #[test]
    fn keys_rotate() {
        let (old, new) = (SealKeys::generate(), SealKeys::generate());
        let sealed = SealKeys::parse(&old).unwrap().seal(&ppa().credentials.unwrap());
        let both = SealKeys::parse(&format!("{new}\n{old}\n")).unwrap();
        assert_eq!(both.open(&sealed).unwrap(), ppa().credentials.unwrap());
        assert_eq!(SealKeys::parse(&new).unwrap().open(&sealed), Err(SealError::WrongKey));
    }

    #[test]
    fn bad_keys_and_texts() {
        assert!(SealKeys::parse("").is_err() && SealKeys::parse("abc").is_err());
        let keys = SealKeys::parse(&SealKeys::generate()).unwrap();
        for token in ["", "!", "AAAA", &"A".repeat(80)] {
            let bad = PpaCredentials { user: "sealed".to_owned(), token: token.to_owned() };
            assert_eq!(keys.open(&bad), Err(SealError::WrongKey));
        }
    }
}
