#!/bin/sh
# closure.sh NAME ROOT: /out/mixnn-NAME and all of Debian that it needs, as a root file system.
set -eu
name=$1 root=$2
binary=/out/mixnn-$name
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$binary" "$root/usr/bin/"

needs=$(LD_LIBRARY_PATH=/out/libtorch/lib ldd "$binary")
case $needs in *"not found"*) echo "$binary lacks libraries:" "$needs" >&2; exit 1 ;; esac
# As images without a package manager have it: a file for each package that something is of.
record() { # FILE
    package=$(dpkg -S "$1" 2>/dev/null || dpkg -S "/usr$1") && package=${package%%:*}
    mkdir -p "$root/var/lib/dpkg/status.d"
    dpkg -s "$package" >"$root/var/lib/dpkg/status.d/$package"
}

# The loader, by the path that the binary names, and everything not of libtorch.
for library in $(echo "$needs" | grep -o '/[^ ]*' | grep -v '^/out/' | sort -u); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    record "$library"
done

echo "mixnn:x:65532:65532::/:/sbin/nologin" > "$root/etc/passwd"
echo "mixnn:x:65532:" > "$root/etc/group"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
record /usr/sbin/update-ca-certificates
cp -L /etc/os-release "$root/etc/os-release"
