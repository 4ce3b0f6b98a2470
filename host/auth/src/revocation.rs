//! How the audit log names what a revocation is about.

use masque_store::{NewRevocation, Revoked};

/// The target of the audit entry: `token:JTI` or `user:ISSUER|SUBJECT`.
pub fn revocation_target(revocation: &NewRevocation) -> String {
    match &revocation.what {
        Revoked::Token { jti } => format!("token:{jti}"),
        Revoked::User { subject, .. } => format!("user:{}|{subject}", revocation.issuer),
    }
}
