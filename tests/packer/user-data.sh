#!/bin/sh
# Marks the disk with the key pair that Packer has made for the instance, and powers off.
token=$(printf 'PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' |
    nc 169.254.169.254 80 | tail -n 1)
get() { wget -q -O - --header "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"; }
mkdir -p /opt/app
echo "$(get public-keys/) $(get public-keys/0/) $(get public-keys/0/openssh-key)" >/opt/app/built-with
poweroff
