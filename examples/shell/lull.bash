# Completions of lull for bash. Generated from its flags.
_lull() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=wait words= i
	# The = of --flag=value is a word of its own.
	if [ "$cur" = '=' ]; then
		cur=
	elif [ "$prev" = '=' ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	COMPREPLY=()
	if [ "$COMP_CWORD" -gt 1 ]; then
		case ${COMP_WORDS[1]} in
		wait | check | watch | install) command=${COMP_WORDS[1]} ;;
		esac
	fi
	case "$command $prev" in
	'wait --handover') COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
	'wait --on-timeout') COMPREPLY=($(compgen -W 'fail pass' -- "$cur")); return ;;
	'wait --endpoints') COMPREPLY=($(compgen -W 'auto skip' -- "$cur")); return ;;
	'wait --kubeconfig') COMPREPLY=($(compgen -f -- "$cur")); return ;;
	'wait --source') COMPREPLY=($(compgen -W 'auto netlink proc' -- "$cur")); return ;;
	'wait --format') COMPREPLY=($(compgen -W 'auto text json' -- "$cur")); return ;;
	'wait --events') COMPREPLY=($(compgen -W 'auto off' -- "$cur")); return ;;
	'wait --quiet' | 'wait --min' | 'wait --keepalive-wait' | 'wait --timeout' | 'wait --reserve' | 'wait --drain' | 'wait --max-open' | 'wait --ignore' | 'wait --service' | 'wait --namespace' | 'wait --pod' | 'wait --context' | 'wait --port' | 'wait --log') return ;;
	'check --handover') COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
	'check --on-timeout') COMPREPLY=($(compgen -W 'fail pass' -- "$cur")); return ;;
	'check --endpoints') COMPREPLY=($(compgen -W 'auto skip' -- "$cur")); return ;;
	'check --kubeconfig') COMPREPLY=($(compgen -f -- "$cur")); return ;;
	'check --source') COMPREPLY=($(compgen -W 'auto netlink proc' -- "$cur")); return ;;
	'check --format') COMPREPLY=($(compgen -W 'auto text json' -- "$cur")); return ;;
	'check --quiet' | 'check --min' | 'check --keepalive-wait' | 'check --timeout' | 'check --reserve' | 'check --drain' | 'check --max-open' | 'check --ignore' | 'check --service' | 'check --namespace' | 'check --pod' | 'check --context' | 'check --port' | 'check --selector') return ;;
	'watch --endpoints') COMPREPLY=($(compgen -W 'auto skip' -- "$cur")); return ;;
	'watch --kubeconfig') COMPREPLY=($(compgen -f -- "$cur")); return ;;
	'watch --source') COMPREPLY=($(compgen -W 'auto netlink proc' -- "$cur")); return ;;
	'watch --format') COMPREPLY=($(compgen -W 'auto text json' -- "$cur")); return ;;
	'watch --service' | 'watch --namespace' | 'watch --pod' | 'watch --context' | 'watch --port') return ;;
	esac
	case $command in
	wait) words='--help --version --quiet --min --handover --keepalive-wait --timeout --reserve --drain --max-open --on-timeout --ignore --service --endpoints --namespace --pod --kubeconfig --context --port --source --log --format --events --disabled --debug' ;;
	check) words='--help --version --quiet --min --handover --keepalive-wait --timeout --reserve --drain --max-open --on-timeout --ignore --service --endpoints --namespace --pod --kubeconfig --context --port --source --selector --format --debug' ;;
	watch) words='--help --version --service --endpoints --namespace --pod --kubeconfig --context --port --source --format --debug' ;;
	install) words='--help --version' ;;
	esac
	if [ "$COMP_CWORD" = 1 ]; then
		words="wait check watch install $words"
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ "$command" = wait ] && [ "${COMP_WORDS[i]}" = -- ]; then
			if [ "$prev" = -- ]; then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return
		fi
	done
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ "$command" = check ] && [ "${COMP_WORDS[i]}" = -- ]; then
			if [ "$prev" = -- ]; then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return
		fi
	done
	if [ "$command" = install ] && [ "${cur#-}" = "$cur" ]; then
		COMPREPLY=($(compgen -d -- "$cur"))
		return
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _lull lull
