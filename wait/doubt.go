package wait

import "time"

// A pod that is not being deleted and in rotation must stay so for settleAfter until that is
// believed. Where the kubelet ends a pod whose time is up (activeDeadlineSeconds), hook and
// endpoint learn of it side by side: the slices were 20 to 120 ms behind. The control plane must
// have spoken in the second half of that time; until it has, it is asked again after settleAgain.
const (
	settleAfter = 500 * time.Millisecond
	settleAgain = 100 * time.Millisecond
)

// doubt is whether a pod that is in rotation, although its hook runs, will be taken out of it. One
// that is being deleted will. Else the kubelet restarts its container or ends the pod by itself,
// and the endpoint stays: but the word of the deletion may be on its way.
type doubt struct {
	undeletedSince time.Time // when the pod was first seen so; zero while it isn't
}

// record takes in whether the pod is in rotation and not being deleted.
func (d *doubt) record(undeleted bool, now time.Time) {
	switch {
	case !undeleted:
		d.undeletedSince = time.Time{}
	case d.undeletedSince.IsZero():
		d.undeletedSince = now
	}
}

// settlement is how a doubt is settled.
type settlement int

const (
	unsettled settlement = iota
	// confirmed: the pod is in rotation and will be.
	confirmed
	// contradicted: the pod has ended, or some Service no longer lists it ready. Services that
	// still do publish addresses that are not ready.
	contradicted
)

// settle answers by what is known now.
func (d doubt) settle(v View, now time.Time) settlement {
	known := !d.undeletedSince.IsZero() && !now.Before(d.undeletedSince.Add(settleAfter)) &&
		v.Contact.Sub(d.undeletedSince) >= settleAfter/2
	switch {
	case !known:
		return unsettled
	case v.Ended != "" || len(v.services(func(s Service) bool { return !s.InRotation })) > 0:
		return contradicted
	}
	return confirmed
}

// again is when to ask anew; false while there is no doubt.
func (d doubt) again(now time.Time) (time.Time, bool) {
	return latest(d.undeletedSince.Add(settleAfter), now.Add(settleAgain)), !d.undeletedSince.IsZero()
}
