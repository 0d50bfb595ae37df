"""Makes the PyTorch wheel that libtorch comes from usable from Python without CUDA's libraries.

libtorch_python.so asks for libtorch_cuda and a few of NVIDIA's libraries, gigabytes that a CPU never
uses. This writes one small library with the symbols that are missing: type infos with their names,
functions that give zeros, constructors that leave a valid vtable. What calls into CUDA fails; the CPU
side is the wheel's own.

  pytorch_stub.py LIB   LIB: torch/lib, with libcudart, libcupti, libc10_cuda and libgomp beside
"""
import pathlib, re, subprocess, sys

KEPT = ["libtorch_cpu.so", "libc10.so", "libc10_cuda.so", "libcudart.so.13", "libshm.so", "libcupti.so.13"]
ASKING = ["libtorch_python.so", "libtorch.so"]
ABSENT = ["libtorch_cuda.so", "libcufile.so.0", "libnccl.so.2"]
SYSTEM = ["libstdc++.so.6", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"]


def symbols(path, which):
    out = subprocess.run(["nm", "-D", which, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if line.split()}


def found(name):
    return subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


def assembly(missing):
    infos = [s for s in missing if s.startswith("_ZTI")]
    tables = [s for s in missing if s.startswith(("_ZTV", "_ZTS"))]
    info = ".quad _ZTVN10__cxxabiv117__class_type_infoE+16; .quad"
    out = [".data", ".balign 16; novt: .quad 0; .quad noti", "novt0: .rept 64; .quad nop; .endr"]
    out += [f"noti: {info} noname; noname: .asciz \"6absent\""]
    for s in tables:
        of = "_ZTI" + s[4:]
        of = of if of in infos else "noti"
        out.append(f".globl {s}; .balign 16; {s}: .quad 0; .quad {of}; .rept 62; .quad nop; .endr")
    out += [f".globl {s}; .balign 16; {s}: {info} n{s}; .zero 64; n{s}: .asciz \"{s[4:]}\"" for s in infos]
    out += [".bss; .balign 64; zeros: .zero 65536", ".text", "nop: xor %eax,%eax; ret"]
    for s in missing:
        if s in infos or s in tables:
            continue
        made = "lea novt0(%rip),%rax; mov %rax,(%rdi); mov %rdi,%rax" if re.search("C[12]E", s) else "lea zeros(%rip),%rax"
        out.append(f".globl {s}; .type {s},@function; {s}: {made}; ret")
    return "\n".join([*out, '.section .note.GNU-stack,"",@progbits', ""])


def build(lib, name, missing, *flags):
    source = lib / f"{name}.s"
    source.write_text(assembly(sorted(missing)))
    subprocess.run(["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", *flags, "-o", lib / name, source], check=True)
    source.unlink()


def main(lib):
    asked = set().union(*(symbols(lib / n, "--undefined-only") for n in ASKING))
    known = set().union(*(symbols(lib / n, "--defined-only") for n in KEPT), *(symbols(found(n), "--defined-only") for n in SYSTEM))
    missing = {s for s in asked - known if not s.startswith(("Py", "_Py", "_ITM", "__gmon"))}
    cudnn = {s for s in missing if s.startswith("cudnn")}
    version = lib / "cudnn.map"
    version.write_text("libcudnn.so.9 { global: *; };\n")
    build(lib, "libcudnn.so.9", cudnn, f"-Wl,--version-script={version}")
    version.unlink()
    build(lib, ABSENT[0], missing - cudnn)
    for name in ABSENT[1:]:
        (lib / name).unlink(missing_ok=True)
        (lib / name).symlink_to(ABSENT[0])


main(pathlib.Path(sys.argv[1]))
