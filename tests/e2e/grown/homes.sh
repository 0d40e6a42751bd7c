# Makes the homes that passwd names, each with a file of its owner's, and a job of somebody's.
set -eu
export LC_ALL=C
grep --text --extended-regexp '^[a-z]+:x:1[0-9]{3}:.*:/(home|srv)/' /etc/passwd |
    while IFS=: read -r login _ uid gid _ home _; do
        test -e "$home" && continue
        install --directory --mode 0750 --owner "$uid" --group "$gid" "$home"
        echo "precious to $login" >"$home/file"
        chown "$uid:$gid" "$home/file"
        touch --date '2011-04-01 12:00' "$home/file"
    done
mkdir --parents /var/spool/cron/crontabs
echo '0 3 * * * /bin/true' >/var/spool/cron/crontabs/boehm
chown boehm /var/spool/cron/crontabs/boehm
chmod 0600 /var/spool/cron/crontabs/boehm
visudo --check --quiet
