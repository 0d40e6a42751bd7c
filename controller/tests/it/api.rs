//! Every method, and every kind of caller.
