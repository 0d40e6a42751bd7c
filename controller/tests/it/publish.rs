//! What hosts are sent.
