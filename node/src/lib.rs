//! What every MixNN process does alike.
