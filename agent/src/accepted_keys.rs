//! Which keys a host takes, of those that can be declared at all: its own word, which no bundle
//! lifts. It can only be narrower than what parses as a key.

use std::collections::BTreeSet;

use muster_proto::key::{KeyType, SshPublicKey};

/// What a host's configuration says of keys. Everything is taken where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedKeys {
    /// Never empty.
    types: BTreeSet<KeyType>,
    /// Within [`SshPublicKey::RSA_BITS`].
    rsa_bits: usize,
}

/// Why a configuration's word on keys cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAcceptedKeys {
    /// Not a type that can be declared.
    #[error("accepted_key_types: `{0}` is none of {all}", all = all())]
    Type(String),
    /// An empty list.
    #[error("accepted_key_types: at least one, or nobody could log in by a key")]
    NoType,
    /// A size that no RSA key has here.
    #[error(
        "required_rsa_size: from {} to {}",
        SshPublicKey::RSA_BITS.start(),
        SshPublicKey::RSA_BITS.end()
    )]
    RsaSize,
}

/// Why a host does not take a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// Of a type that it does not take.
    #[error("this host takes no key of type `{0}`")]
    Type(KeyType),
    /// An RSA key that is too short for it.
    #[error("it has {found} bits, and this host takes RSA keys from {required} bits on")]
    RsaSize {
        /// How many it has.
        found: usize,
        /// How many it needs.
        required: usize,
    },
}

impl Default for AcceptedKeys {
    fn default() -> Self {
        Self { types: KeyType::ALL.into(), rsa_bits: *SshPublicKey::RSA_BITS.start() }
    }
}

impl AcceptedKeys {
    /// Reads what a configuration says, with everything that is wrong.
    pub fn parse(
        types: Option<&[String]>,
        rsa_bits: Option<usize>,
    ) -> Result<Self, Vec<BadAcceptedKeys>> {
        let mut accepted = Self::default();
        let mut faults = Vec::new();
        if let Some(names) = types {
            accepted.types.clear();
            for name in names {
                match KeyType::parse(name) {
                    Some(key_type) => drop(accepted.types.insert(key_type)),
                    None => faults.push(BadAcceptedKeys::Type(name.escape_debug().to_string())),
                }
            }
            if names.is_empty() {
                faults.push(BadAcceptedKeys::NoType);
            }
        }
        accepted.rsa_bits = rsa_bits.unwrap_or(accepted.rsa_bits);
        if !SshPublicKey::RSA_BITS.contains(&accepted.rsa_bits) {
            faults.push(BadAcceptedKeys::RsaSize);
        }
        if faults.is_empty() { Ok(accepted) } else { Err(faults) }
    }

    /// Says whether the host takes a key, or why not.
    pub fn judge(&self, key: &SshPublicKey) -> Result<(), KeyRefused> {
        if !self.types.contains(&key.key_type()) {
            return Err(KeyRefused::Type(key.key_type()));
        }
        match key.rsa_bits() {
            Some(found) if found < self.rsa_bits => {
                Err(KeyRefused::RsaSize { found, required: self.rsa_bits })
            }
            _ => Ok(()),
        }
    }
}

fn all() -> String {
    KeyType::ALL.map(KeyType::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RSA key whose modulus has exactly so many bits.
    fn rsa(bits: usize) -> SshPublicKey {
        let mut modulus = vec![0xff; bits / 8];
        modulus.insert(0, 0);
        let mut blob = Vec::new();
        for part in [b"ssh-rsa".as_slice(), &[1, 0, 1], &modulus] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        SshPublicKey::from_blob(&blob).unwrap()
    }

    #[test]
    fn an_rsa_key_is_taken_from_the_required_size_on_and_no_shorter_one() {
        let accepted = AcceptedKeys::parse(None, Some(3_072)).unwrap();
        assert_eq!(accepted.judge(&rsa(3_072)), Ok(()));
        let refused = KeyRefused::RsaSize { found: 3_064, required: 3_072 };
        assert_eq!(accepted.judge(&rsa(3_064)), Err(refused));
        assert_eq!(AcceptedKeys::default().judge(&rsa(2_048)), Ok(()));
    }

    #[test]
    fn a_key_of_a_type_that_is_not_listed_is_refused_by_its_type() {
        let types = ["sk-ssh-ed25519@openssh.com".to_owned()];
        let accepted = AcceptedKeys::parse(Some(&types), None).unwrap();
        assert_eq!(accepted.judge(&rsa(4_096)), Err(KeyRefused::Type(KeyType::Rsa)));
    }

    #[test]
    fn sizes_are_taken_up_to_both_bounds_and_no_further() {
        for (bits, good) in [(2_047, false), (2_048, true), (8_192, true), (8_193, false)] {
            assert_eq!(AcceptedKeys::parse(None, Some(bits)).is_ok(), good, "{bits}");
        }
    }

    #[test]
    fn every_fault_is_told_and_an_empty_list_is_one() {
        let types = ["ssh-dss".to_owned(), "rsa".to_owned()];
        let faults = AcceptedKeys::parse(Some(&types), Some(1_024)).unwrap_err();
        let [dss, rsa, BadAcceptedKeys::RsaSize] = &faults[..] else { panic!("{faults:?}") };
        assert!(dss.to_string().contains("`ssh-dss` is none of ssh-ed25519, "), "{dss}");
        assert_eq!(*rsa, BadAcceptedKeys::Type("rsa".to_owned()));
        assert_eq!(AcceptedKeys::parse(Some(&[]), None), Err(vec![BadAcceptedKeys::NoType]));
    }
}
