//! What is taken out, and what is left.
