#![no_std]
//! Exists so that cargo has a library target.
