//! The proofs of `docs/RELIABILITY.md`: a binary of their own, because they want the machine for themselves.

mod reliability;
#[expect(dead_code, unused_imports, reason = "it is there for all other tests as well")]
mod support;
