# Kills the keeper a chosen while after it has written its ledger for the second time in its turn,
# which is when it begins to change the host. On a host, as root:
#
#   perl keeper.pl PROCESS NANOSECONDS   kills it then, keeps the files as they lie in /run/found, and
#                                        adds and removes an account by the system's tools
#   perl keeper.pl PROCESS group         the same as soon as it is seen that /etc/group is another
#   perl keeper.pl PROCESS never         lets it live until it has written its receipt
#
# Says `ready`; then how long it took until the kill or the receipt, and whether a receipt was there;
# then how long after the kill it was dead, and how long after that the account was added.
#
# A host's perl has no modules: clock_gettime(2) and inotify(7) are called by their numbers.
use strict;
use warnings;

use constant { CLOCK_GETTIME => 228, INOTIFY_INIT => 253, INOTIFY_ADD_WATCH => 254 };
use constant { IN_MOVED_TO => 0x80 };

my ($process, $after) = @ARGV;
my $memory = "/var/lib/muster-agent/keeper";

sub now {
    my $time = pack("q q", 0, 0);
    syscall(CLOCK_GETTIME, 1, $time) == 0 or die "clock_gettime: $!";
    my ($seconds, $nanoseconds) = unpack("q q", $time);
    return $seconds * 1_000_000_000 + $nanoseconds;
}

my $number = syscall(INOTIFY_INIT);
open(my $seen, "<&=", $number) or die "inotify_init: $!";
for my $place ($memory, "$memory/spool", "/etc") {
    my $path = "$place"; # syscall takes no literal
    syscall(INOTIFY_ADD_WATCH, $number, $path, IN_MOVED_TO) > 0 or die "inotify_add_watch: $!";
}

# How often a ledger was written so far, a receipt, and each file of /etc.
my ($ledgers, $receipts, %written) = (0, 0);
sub look {
    sysread($seen, my $events, 65536) or die "inotify: $!";
    while (length $events) {
        my $length = unpack("x12 L", $events);
        my $name = unpack("x16 Z$length", $events);
        $ledgers++ if $name eq "ledger";
        $receipts++ if $name =~ /^\d+$/;
        $written{$name}++;
        $events = substr($events, 16 + $length);
    }
}

sub wait_until {
    my ($end) = @_;
    while ((my $left = $end - now()) > 0) {
        my $ready = "";
        vec($ready, $number, 1) = 1;
        look() if select($ready, undef, undef, $left / 1_000_000_000);
    }
}

$| = 1;
print "ready\n";
look() until $ledgers >= 2;
my $begun = now();
if ($after eq "never") {
    look() until $receipts;
} else {
    if ($after =~ /^\d+$/) {
        wait_until($begun + $after);
    } else {
        look() until $written{$after};
    }
    kill("KILL", $process) == 1 or die "kill: $!";
}
my $end = now();
print "passed ", $end - $begun, $receipts ? " told" : " untold", "\n";
exit 0 if $after eq "never";

# It is dead when its number is: until then its locks are those of a process that lives.
while (kill(0, $process)) { }
my $dead = now();
print "died ", $dead - $end, "\n";

sub run { system(@_) == 0 or die "@_: $?" }

run("rm", "-rf", "/run/found");
run("mkdir", "-m", "0700", "/run/found");
run("cp", "-a", (map { "/etc/$_" } qw(passwd shadow group gshadow sudoers.d)), "/run/found/");
run("useradd", "--no-create-home", "--uid", "65000", "stranger");
print "took ", now() - $dead, "\n";
run("userdel", "stranger");
