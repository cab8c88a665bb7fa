//! Each rule from both sides of its limit.
