//! A PIV card that speaks to pcscd through the vpcd reader. For tests and the demo only.
