//! `AccessService`: one file per operation.

mod view;
