#!/bin/sh
# Makes the certificates of the TLS tests anew: valid from 2020 to 2120, one of them only in 2020.
# They name this machine only, and no key here protects anything.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/new"
: > "$work/index"
cat > "$work/config" <<CONFIG
[ca]
default_ca = here
[here]
database = $work/index
new_certs_dir = $work/new
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
CONFIG
request() { # name, extension
  openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"
  openssl req -new -key "$work/$1.key" -subj "/CN=q2v test $1" -addext "$2" -out "$work/$1.csr"
}
sign() { # name, end, further options
  name=$1; end=$2; shift 2
  openssl ca -batch -notext -config "$work/config" -in "$work/$name.csr" \
    -startdate 20200101000000Z -enddate "$end" -out "$work/$name.pem" "$@"
}
request authority "basicConstraints=critical,CA:true"
sign authority 21200101000000Z -selfsign -keyfile "$work/authority.key"
cp "$work/authority.pem" authority.pem
signed() { # name, subject alternative name, end
  request "$1" "subjectAltName=$2"
  sign "$1" "$3" -cert authority.pem -keyfile "$work/authority.key"
  cat "$work/$1.key" "$work/$1.pem" > "$1.pem"
}
signed good IP:127.0.0.1 21200101000000Z
signed other_host DNS:other.example 21200101000000Z
signed expired IP:127.0.0.1 20210101000000Z
