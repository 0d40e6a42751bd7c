//! What the operator began to sign, kept until the controller has it. The whole candidate is on disk
//! before any signature over it is made, so that whatever fails in between is taken up with the same
//! candidate: another one of its number would be an equivocation, and without the first its number
//! would be lost to her. Signs nothing and sends nothing itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_proto::{
    bundle::MAX_MESSAGE,
    chain::Candidate,
    convert::Malformed,
    envelope::{Document, Envelope, MAX_SIGNATURES},
    link::{Link, LinkBody, PublishedLink},
};

use super::{Tool, ToolError, files, name, read, write};

/// The most bytes that a link may have before anybody has signed it: what is left of a message
/// beside as many signatures as may be added, an RSA key's among them.
pub const MAX_UNSIGNED: usize = MAX_MESSAGE - MAX_SIGNATURES * (2 << 10);

/// A candidate that this operator signs, with the proposals that it was cut from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The header and the body.
    pub candidate: Candidate,
    /// Signed by their proposers.
    pub proposals: Vec<Envelope>,
}

/// What the controller does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It was recorded, and no signature has left: the same candidate is signed again.
    Begun(Box<Begun>),
    /// It was signed: it is sent again as it is.
    Signed(PublishedLink),
}

/// Why what was begun ends without a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// Another link has this number now.
    Overtaken(u64),
    /// It cannot be signed any more: the rules of now forbid what the candidate of this number says.
    Forbidden(u64),
}

impl Begun {
    /// Puts the header, signed or to be signed, together with the rest.
    pub fn published(&self, link: Envelope) -> PublishedLink {
        let body = self.candidate.body.encode();
        PublishedLink { link, body, proposals: self.proposals.clone() }
    }

    /// Every part behind its length: header, body, proposals.
    fn encode(&self) -> Vec<u8> {
        let Candidate { link, body } = &self.candidate;
        let proposals = self.proposals.iter().map(Document::encode);
        let parts = [link.encode(), body.encode()].into_iter().chain(proposals);
        parts.flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], &part].concat()).collect()
    }

    /// Nothing is wrong with the parts if there is `None`: they are no parts.
    fn decode(mut bytes: &[u8]) -> Option<Result<Self, Malformed>> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
            let (part, rest) = rest.split_at_checked(length)?;
            parts.push(part);
            bytes = rest;
        }
        let [link, body, proposals @ ..] = parts.as_slice() else { return None };
        let read = || {
            let candidate = Candidate { link: Link::decode(link)?, body: LinkBody::decode(body)? };
            let proposals = proposals.iter().map(|bytes| Envelope::decode(bytes));
            Ok(Self { candidate, proposals: proposals.collect::<Result<_, _>>()? })
        };
        Some(read())
    }
}

impl Tool {
    /// Records, durably and before it is signed, which candidate this operator signs. A person signs
    /// one for each trust root and number.
    pub fn begin_signing(&self, begun: &Begun) -> Result<(), ToolError> {
        let link = &begun.candidate.link;
        let bytes = begun.published(Envelope::new(link)).encode().len();
        if bytes > MAX_UNSIGNED {
            return Err(ToolError::TooLarge { bytes });
        }
        let (number, trust_version) = (link.number, link.trust_version);
        let path = self.signing("signed", trust_version, number);
        match read_begun(&path)? {
            Some(found) if found.candidate.link == *link => Ok(()),
            Some(_) => Err(ToolError::AlreadySigned { number, trust_version }),
            None => write(&path, &begun.encode()),
        }
    }

    /// Keeps a signed link until the controller has it.
    pub fn keep_signed(&self, link: &Link, published: &PublishedLink) -> Result<(), ToolError> {
        let path = self.signing("pending", link.trust_version, link.number);
        write(&path, &published.encode())
    }

    /// Returns what was begun and is to be the next link.
    pub fn unfinished(&self) -> Result<Option<Unfinished>, ToolError> {
        let (trust_version, number) = self.next();
        let path = self.signing("pending", trust_version, number);
        if let Some(bytes) = read_if_there(&path)? {
            let decoded = PublishedLink::decode(&bytes);
            let decoded = decoded.map_err(|cause| ToolError::Damaged { path, cause })?;
            return Ok(Some(Unfinished::Signed(decoded)));
        }
        let begun = read_begun(&self.signing("signed", trust_version, number))?;
        Ok(begun.map(|begun| Unfinished::Begun(Box::new(begun))))
    }

    /// Removes what came to its end: what the chain has, what another link has overtaken, and what
    /// was begun, never signed, and cannot be signed any more. Returns what ends without a link.
    pub fn clear_finished(&self) -> Result<Vec<Void>, ToolError> {
        let newest = self.chain.newest().map_or(0, |link| link.number);
        let mut void = Vec::new();
        for directory in ["pending", "signed"] {
            for path in files(&self.directory.join(directory))? {
                let number = path.file_name().and_then(|name| name.to_str()).and_then(number);
                let Some(number) = number.filter(|number| *number <= newest) else { continue };
                if directory == "signed" && self.is_overtaken(number, &path)? {
                    void.push(Void::Overtaken(number));
                }
                remove(&path)?;
            }
        }
        if let Some(Unfinished::Begun(begun)) = self.unfinished()?
            && !self.may_still_be_signed(&begun)
        {
            let (trust_version, number) = self.next();
            remove(&self.signing("signed", trust_version, number))?;
            void.push(Void::Forbidden(number));
        }
        Ok(void)
    }

    /// A record that does not read back is of no use any more, and no hindrance.
    fn is_overtaken(&self, number: u64, path: &Path) -> Result<bool, ToolError> {
        let begun = match read_begun(path) {
            Err(ToolError::Begun(_) | ToolError::Damaged { .. }) => None,
            other => other?,
        };
        let digest = begun.map(|begun| begun.candidate.link.digest());
        Ok(digest.is_some() && self.chain.place(number).map(|link| link.digest) != digest)
    }

    /// Whoever cuts the same out of the same now must come to the same.
    fn may_still_be_signed(&self, begun: &Begun) -> bool {
        let Candidate { link, body } = &begun.candidate;
        let (folds, log) = (body.folds.clone(), link.log.clone());
        let again = self.chain.cut(&begun.proposals, folds, link.time, log);
        again.is_ok_and(|again| again == begun.candidate)
    }

    fn next(&self) -> (u64, u64) {
        let newest = self.chain.newest().map_or(0, |link| link.number);
        (self.chain.trust().version, newest + 1)
    }

    fn signing(&self, directory: &str, trust_version: u64, number: u64) -> PathBuf {
        self.directory.join(directory).join(format!("{trust_version}-{}", name(number)))
    }
}

fn number(file: &str) -> Option<u64> {
    file.split_once('-')?.1.parse().ok()
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ToolError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ToolError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_begun(path: &Path) -> Result<Option<Begun>, ToolError> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let decoded = Begun::decode(&bytes).ok_or_else(|| ToolError::Begun(path.to_owned()))?;
    decoded.map(Some).map_err(|cause| ToolError::Damaged { path: path.to_owned(), cause })
}

fn remove(path: &Path) -> Result<(), ToolError> {
    fs::remove_file(path).map_err(|cause| ToolError::Write { path: path.to_owned(), cause })
}
