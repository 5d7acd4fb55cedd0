package verify_test
import ("testing";"fmt";"github.com/wattledger/wattledger/aggregator/verify")
func TestDbg(t *testing.T){
 bad:=0
 for _,long:=range []bool{false,true}{
 for seed:=uint64(0);seed<150;seed++{
  f:=newFleet(seed,long)
  e,_,err:=f.booked(); if err!=nil{t.Log(seed,long,err);continue}
  l,err:=f.recomputed(); if err!=nil{t.Log(seed,long,err);continue}
  if c:=verify.Compare(e,l);c.Entries!=0{ bad++; if bad<12 {fmt.Println(long,seed,c.RuleError,c.Time,c.First[:min(3,len(c.First))])}}
 }}
 fmt.Println("bad",bad)
}
