# Completions of lull for fish. Generated from its flags.
function __lull_command -d 'Reports whether the command line is one of this command'
    set -l words (commandline -opc)
    set -l command wait
    if contains -- "$words[2]" wait check watch install
        set command $words[2]
    end
    test "$command" = $argv[1]
end
function __lull_wrapped -d 'Completes the command line after --'
    complete -C (string replace -r '^.*? -- +' '' -- (commandline -cp))
end
complete -c lull -f
complete -c lull -n __fish_use_subcommand -a wait -d 'The hook: hold SIGTERM back until the pod is out of rotation and nothing arrives'
complete -c lull -n __fish_use_subcommand -a check -d 'Tell what the hook would see and do, and what it lacks'
complete -c lull -n __fish_use_subcommand -a watch -d 'Print a line for every arrival and change on the watched ports, until interrupted'
complete -c lull -n __fish_use_subcommand -a install -d 'Copy this binary into a directory, for an init container: distroless images have no cp'
complete -c lull -n '__lull_command wait' -l help -d 'Show context-sensitive help'
complete -c lull -n '__lull_command wait' -l version -d 'Print the version and exit'
complete -c lull -n '__lull_command wait' -l quiet -d 'How long nothing may arrive' -x
complete -c lull -n '__lull_command wait' -l min -d 'Never exit sooner than this after the pod left rotation, for slow load balancers with little traffic' -x
complete -c lull -n '__lull_command wait' -l handover -d 'While no other endpoint is ready: auto waits for a replacement on its way, always for any, never for none' -x -a 'auto always never'
complete -c lull -n '__lull_command wait' -l keepalive-wait -d 'Requests on a connection hold the exit for at most this long after the pod left rotation, or after a look first saw the connection if that was later, or with --drain after its first request since, which always counts' -x
complete -c lull -n '__lull_command wait' -l timeout -d 'The whole budget' -x
complete -c lull -n '__lull_command wait' -l reserve -d 'Left for the app\'s own shutdown' -x
complete -c lull -n '__lull_command wait' -l drain -d 'Once nobody is sent here any more, tell the app to let its clients go: a signal to the container\'s first process, which must handle it and serve on (HUP, USR1, USR2, WINCH' -x
complete -c lull -n '__lull_command wait' -l max-open -d 'After the quiet window, hold on until at most so many connections are open, or the budget ends' -x
complete -c lull -n '__lull_command wait' -l on-timeout -d 'When the budget runs out: fail is exit code 3, which the kubelet records as FailedPreStopHook' -x -a 'fail pass'
complete -c lull -n '__lull_command wait' -l ignore -d 'Clients whose connections don\'t count (scrapers, health checkers)' -x
complete -c lull -n '__lull_command wait' -l service -d 'Only this Service\'s slices' -x
complete -c lull -n '__lull_command wait' -l endpoints -d 'auto, or skip: no Kubernetes API at all' -x -a 'auto skip'
complete -c lull -n '__lull_command wait' -l namespace -d 'The pod\'s namespace, when run by hand' -x
complete -c lull -n '__lull_command wait' -l pod -d 'The pod\'s name, when run by hand' -x
complete -c lull -n '__lull_command wait' -l kubeconfig -d 'Where the API is, when run by hand' -r -F
complete -c lull -n '__lull_command wait' -l context -d 'The kubeconfig\'s context, when run by hand' -x
complete -c lull -n '__lull_command wait' -l port -d 'Port to watch: a number, or an EndpointSlice port name' -x
complete -c lull -n '__lull_command wait' -l source -d 'How to watch the sockets' -x -a 'auto netlink proc'
complete -c lull -n '__lull_command wait' -l log -d 'Where the story goes besides stderr: a file, none, or auto: the container\'s log (the stderr of its first process) where it can be opened' -x
complete -c lull -n '__lull_command wait' -l format -d 'text for a person, json one object a line' -x -a 'auto text json'
complete -c lull -n '__lull_command wait' -l events -d 'Events on the pod, where they may be created: one when the hook has held for a second, and one at its end' -x -a 'auto off'
complete -c lull -n '__lull_command wait' -l disabled -d 'Exit at once, and say so'
complete -c lull -n '__lull_command wait' -l debug -d 'Tell of each request to the API server and each look at the sockets, too'
complete -c lull -n '__lull_command wait' -n 'contains -- -- (commandline -opc)' -a '(__lull_wrapped)'
complete -c lull -n '__lull_command check' -l help -d 'Show context-sensitive help'
complete -c lull -n '__lull_command check' -l version -d 'Print the version and exit'
complete -c lull -n '__lull_command check' -l quiet -d 'How long nothing may arrive' -x
complete -c lull -n '__lull_command check' -l min -d 'Never exit sooner than this after the pod left rotation, for slow load balancers with little traffic' -x
complete -c lull -n '__lull_command check' -l handover -d 'While no other endpoint is ready: auto waits for a replacement on its way, always for any, never for none' -x -a 'auto always never'
complete -c lull -n '__lull_command check' -l keepalive-wait -d 'Requests on a connection hold the exit for at most this long after the pod left rotation, or after a look first saw the connection if that was later, or with --drain after its first request since, which always counts' -x
complete -c lull -n '__lull_command check' -l timeout -d 'The whole budget' -x
complete -c lull -n '__lull_command check' -l reserve -d 'Left for the app\'s own shutdown' -x
complete -c lull -n '__lull_command check' -l drain -d 'Once nobody is sent here any more, tell the app to let its clients go: a signal to the container\'s first process, which must handle it and serve on (HUP, USR1, USR2, WINCH' -x
complete -c lull -n '__lull_command check' -l max-open -d 'After the quiet window, hold on until at most so many connections are open, or the budget ends' -x
complete -c lull -n '__lull_command check' -l on-timeout -d 'When the budget runs out: fail is exit code 3, which the kubelet records as FailedPreStopHook' -x -a 'fail pass'
complete -c lull -n '__lull_command check' -l ignore -d 'Clients whose connections don\'t count (scrapers, health checkers)' -x
complete -c lull -n '__lull_command check' -l service -d 'Only this Service\'s slices' -x
complete -c lull -n '__lull_command check' -l endpoints -d 'auto, or skip: no Kubernetes API at all' -x -a 'auto skip'
complete -c lull -n '__lull_command check' -l namespace -d 'The pod\'s namespace, when run by hand' -x
complete -c lull -n '__lull_command check' -l pod -d 'The pod\'s name, when run by hand' -x
complete -c lull -n '__lull_command check' -l kubeconfig -d 'Where the API is, when run by hand' -r -F
complete -c lull -n '__lull_command check' -l context -d 'The kubeconfig\'s context, when run by hand' -x
complete -c lull -n '__lull_command check' -l port -d 'Port to watch: a number, or an EndpointSlice port name' -x
complete -c lull -n '__lull_command check' -l source -d 'How to watch the sockets' -x -a 'auto netlink proc'
complete -c lull -n '__lull_command check' -l selector -d 'Check the pods with these labels' -x
complete -c lull -n '__lull_command check' -l format -d 'text for a person, json one object a pod and line' -x -a 'auto text json'
complete -c lull -n '__lull_command check' -l debug -d 'Tell of each request to the API server, too, on stderr'
complete -c lull -n '__lull_command check' -n 'contains -- -- (commandline -opc)' -a '(__lull_wrapped)'
complete -c lull -n '__lull_command watch' -l help -d 'Show context-sensitive help'
complete -c lull -n '__lull_command watch' -l version -d 'Print the version and exit'
complete -c lull -n '__lull_command watch' -l service -d 'Only this Service\'s slices' -x
complete -c lull -n '__lull_command watch' -l endpoints -d 'auto, or skip: no Kubernetes API at all' -x -a 'auto skip'
complete -c lull -n '__lull_command watch' -l namespace -d 'The pod\'s namespace, when run by hand' -x
complete -c lull -n '__lull_command watch' -l pod -d 'The pod\'s name, when run by hand' -x
complete -c lull -n '__lull_command watch' -l kubeconfig -d 'Where the API is, when run by hand' -r -F
complete -c lull -n '__lull_command watch' -l context -d 'The kubeconfig\'s context, when run by hand' -x
complete -c lull -n '__lull_command watch' -l port -d 'Port to watch: a number, or an EndpointSlice port name' -x
complete -c lull -n '__lull_command watch' -l source -d 'How to watch the sockets' -x -a 'auto netlink proc'
complete -c lull -n '__lull_command watch' -l format -d 'text for a person, json one object a line' -x -a 'auto text json'
complete -c lull -n '__lull_command watch' -l debug -d 'Tell of each request to the API server, too'
complete -c lull -n '__lull_command install' -l help -d 'Show context-sensitive help'
complete -c lull -n '__lull_command install' -l version -d 'Print the version and exit'
complete -c lull -n '__lull_command install' -a '(__fish_complete_directories)'
