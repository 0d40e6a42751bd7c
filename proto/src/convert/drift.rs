//! Drift, between wire and domain.

use super::{Fault, MAX_DRIFT_WORD, known};
use crate::{
    drift::{Culprit, Drift, Response, Severity},
    time::Timestamp,
    wire,
};

impl TryFrom<wire::Drift> for Drift {
    type Error = Fault;

    fn try_from(wire: wire::Drift) -> Result<Self, Fault> {
        if [&wire.kind, &wire.subject, &wire.place].iter().any(|word| word.len() > MAX_DRIFT_WORD) {
            return Err(Fault::Value("drift"));
        }
        Ok(Self {
            kind: wire.kind,
            subject: wire.subject,
            place: wire.place,
            expected: wire.expected,
            found: wire.found,
            since: Timestamp(wire.since),
            severity: known::<wire::Severity>(wire.severity, "severity")?.try_into()?,
            response: match known::<wire::Response>(wire.response, "response")? {
                wire::Response::Repaired => Response::Repaired,
                wire::Response::Reported => Response::Reported,
                wire::Response::Failed => Response::Failed,
                wire::Response::Contested => Response::Contested,
                wire::Response::Gone => Response::Gone,
                wire::Response::Unspecified => return Err(Fault::Missing("response")),
            },
            rounds: wire.rounds,
            culprit: wire.culprit.map(Culprit::from),
        })
    }
}

impl From<&Drift> for wire::Drift {
    fn from(drift: &Drift) -> Self {
        Self {
            kind: drift.kind.clone(),
            subject: drift.subject.clone(),
            place: drift.place.clone(),
            expected: drift.expected.clone(),
            found: drift.found.clone(),
            since: drift.since.0,
            severity: wire::Severity::from(drift.severity).into(),
            response: wire::Response::from(drift.response).into(),
            rounds: drift.rounds,
            culprit: drift.culprit.as_ref().map(wire::Culprit::from),
        }
    }
}

impl From<Severity> for wire::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }
}

impl TryFrom<wire::Severity> for Severity {
    type Error = Fault;

    fn try_from(wire: wire::Severity) -> Result<Self, Fault> {
        let mut all = Self::ALL.iter().copied();
        all.find(|one| wire::Severity::from(*one) == wire).ok_or(Fault::Missing("severity"))
    }
}

impl From<Response> for wire::Response {
    fn from(response: Response) -> Self {
        match response {
            Response::Repaired => Self::Repaired,
            Response::Reported => Self::Reported,
            Response::Failed => Self::Failed,
            Response::Contested => Self::Contested,
            Response::Gone => Self::Gone,
        }
    }
}

impl From<wire::Culprit> for Culprit {
    fn from(wire: wire::Culprit) -> Self {
        let wire::Culprit { pid, program, command, login, unit } = wire;
        Self { pid, program, command, login, unit }
    }
}

impl From<&Culprit> for wire::Culprit {
    fn from(culprit: &Culprit) -> Self {
        let Culprit { pid, program, command, login, unit } = culprit.clone();
        Self { pid, program, command, login, unit }
    }
}
