//! The numeric profile: what the bits of a result depend on (docs/numerics.md).

use crate::NnError;
use mixnn_protocol::control::Profile;
use std::sync::Once;

/// The pinned value of `ATEN_CPU_CAPABILITY`: libtorch's default, AVX2 and AVX-512 kernels each give
/// other bits, and AVX2 is there on every machine that would run this.
pub const CPU_CAPABILITY: &str = "avx2";

/// The variable that libtorch reads once, when it is first used.
pub const CPU_CAPABILITY_VARIABLE: &str = "ATEN_CPU_CAPABILITY";

/// What a machine without these kernels registers: its bits are others.
const WITHOUT_AVX2: &str = "default";

/// The libtorch that this build is made for.
pub const LIBTORCH: &str = "2.13.0";

/// libtorch takes the number of threads between operations once in a process.
static PINNED: Once = Once::new();

/// Lets operations of this process take so many threads: for comparisons. Its bits are those of no run.
pub fn set_threads(threads: i32) {
    tch::set_num_threads(threads);
}

/// Pins this process: one thread within and between operations.
///
/// Call it before any tensor is made; again, it changes nothing.
///
/// # Errors
/// The environment does not pin the CPU capability.
pub fn pin() -> Result<Profile, NnError> {
    let found = std::env::var(CPU_CAPABILITY_VARIABLE).unwrap_or_default();
    if cfg!(target_arch = "x86_64") && found != CPU_CAPABILITY {
        return Err(NnError::Profile(format!(
            "{CPU_CAPABILITY_VARIABLE} is '{found}', the numeric profile asks for '{CPU_CAPABILITY}': set it before the process starts"
        )));
    }
    PINNED.call_once(|| {
        tch::set_num_threads(1);
        tch::set_num_interop_threads(1);
    });
    Ok(Profile {
        libtorch: LIBTORCH.to_owned(),
        threads: u32::try_from(tch::get_num_threads()).unwrap_or(0),
        cpu_capability: if has_avx2() { found } else { WITHOUT_AVX2.to_owned() },
    })
}

/// libtorch falls back to its default kernels without a word.
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
