//! libtorch's switch for deterministic algorithms: what `torch.use_deterministic_algorithms(True)` does in
//! Python. tch 0.26 does not offer it, and no environment variable does.
//!
//! The only unsafe code of the workspace. It calls four C++ functions by the names that the Itanium C++ ABI
//! gives them; libtorch is pinned to one version (`scripts/libtorch.sh`), and another one that lacks them does
//! not link.

// The crate that links libtorch.
use tch as _;

/// `at::Context`: never looked into.
#[repr(C)]
struct Context {
    _opaque: [u8; 0],
}

#[expect(unsafe_code, reason = "the declarations of ATen/Context.h, libtorch 2.13")]
unsafe extern "C" {
    /// `at::Context& at::globalContext()`
    #[link_name = "_ZN2at13globalContextEv"]
    fn global_context() -> *mut Context;
    /// `void at::Context::setDeterministicAlgorithms(bool on, bool warn_only)`
    #[link_name = "_ZN2at7Context26setDeterministicAlgorithmsEbb"]
    fn set_deterministic_algorithms(this: *mut Context, on: bool, warn_only: bool);
    /// `void at::Context::setDeterministicCuDNN(bool)`
    #[link_name = "_ZN2at7Context21setDeterministicCuDNNEb"]
    fn set_deterministic_cudnn(this: *mut Context, on: bool);
    /// `void at::Context::setDeterministicFillUninitializedMemory(bool)`
    #[link_name = "_ZN2at7Context39setDeterministicFillUninitializedMemoryEb"]
    fn set_fill_uninitialized_memory(this: *mut Context, on: bool);
}

/// From now on operations compute by algorithms whose results do not change from run to run, cuDNN's included;
/// an operation that has none fails and says so. For the whole process. Memory that is reserved is not
/// filled first: nothing here reads it before it is written.
#[expect(unsafe_code, reason = "tch has no such call")]
pub fn use_deterministic_algorithms() {
    // SAFETY: the signatures are those of libtorch 2.13; the global context lives as long as the process; the
    // setters write single flags and do not throw.
    unsafe {
        let context = global_context();
        set_deterministic_algorithms(context, true, false);
        set_deterministic_cudnn(context, true);
        set_fill_uninitialized_memory(context, false);
    }
}
