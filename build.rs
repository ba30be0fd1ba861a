//! How the plugin is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The fuzzer's own symbols are in its programs, not in the shared library that is built beside them.
    if std::env::var_os("CARGO_CFG_FUZZING").is_some() {
        return;
    }
    for argument in [
        // GDAL never unloads plugins, but other hosts might, while threads of ours run.
        "-Wl,-z,nodelete",
        // Symbols of libraries inside the plugin are the plugin's own, whatever the host process has loaded.
        "-Wl,-Bsymbolic",
        // A symbol that nobody defines is an error here, not in the host: GDAL's are looked up at run time.
        "-Wl,-z,defs",
        "-Wl,-soname,gdal_vsitlm.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
